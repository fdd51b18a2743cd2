#include "engine/scheduler.h"

#include <algorithm>

#include "base/error.h"

namespace lethe::engine {

Scheduler::Scheduler(model::Model& model, const EngineOptions& options, std::function<void()> check)
    : model_(model),
      options_(options),
      check_(std::move(check)),
      layout_(model.new_state().layout()),
      cache_(options.prefix_cache ? options.memory_bytes : 0) {}

int64_t Scheduler::reserved_bytes(const Sequence& sequence) const {
  return layout_.bytes_at(sequence.max_positions());
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  waiting_.push_back(std::move(sequence));
}

void Scheduler::cancel(RequestId id) {
  const auto is_it = [id](const auto& sequence) { return sequence->id() == id; };
  if (const auto it = std::ranges::find_if(waiting_, is_it); it != waiting_.end()) {
    (*it)->finish(StopReason::cancelled);
    ++totals_.finished;
    waiting_.erase(it);
  } else if (const auto at = std::ranges::find_if(running_, is_it); at != running_.end()) {
    end(*at, StopReason::cancelled);
    remove_ended();
  }
}

void Scheduler::stop_all(StopReason reason) {
  for (auto& sequence : waiting_) sequence->finish(reason);
  totals_.finished += num_waiting();
  waiting_.clear();
  for (auto& sequence : running_) end(sequence, reason);
  remove_ended();
}

void Scheduler::step() {
  admit();
  if (running_.empty()) return;
  model::ForwardResult result;
  try {
    if (check_) check_();
    result = model_.forward(next_chunks());
  } catch (const std::exception& error) {
    // The states are as before, but whose fault it was is not known.
    for (auto& sequence : running_) end(sequence, StopReason::failed, error.what());
    remove_ended();
    return;
  }
  take_results(result.logits);
}

void Scheduler::admit() {
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < options_.max_running) {
    const int64_t bytes = reserved_bytes(*waiting_.front());
    if (!running_.empty() && reserved_ + bytes > options_.memory_bytes) return;
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    std::string failure;
    try {
      // What it resumes from becomes its own before room is made for it.
      start(*running_.back());
    } catch (const std::exception& error) {
      failure = error.what();
    }
    reserve(bytes);
    if (failure.empty()) continue;
    end(running_.back(), StopReason::failed, failure);
    running_.pop_back();
  }
}

void Scheduler::reserve(int64_t bytes) {
  reserved_ += bytes;
  if (options_.prefix_cache) cache_.set_budget(options_.memory_bytes - reserved_);
}

void Scheduler::start(Sequence& sequence) {
  const Request& request = sequence.request();
  const std::vector<int32_t>& prompt = *sequence.prompt();
  const auto size = static_cast<int64_t>(prompt.size());
  cache::PrefixCache::Hit hit;
  if (request.use_prefix_cache) hit = cache_.find(request.cache_scope, prompt, size - 1);
  sequence.start(hit.state ? std::move(*hit.state) : model_.new_state(), hit.tokens,
                 model_.narrowing_rows());
  sequence.report_prefill();
  totals_.prompt_tokens += size;
  totals_.cached_tokens += hit.tokens;
  if (!options_.prefix_cache || !request.use_prefix_cache) return;
  if (hit.common_tokens >= hit.tokens + options_.min_shared_prefix) {
    sequence.keep_state_at(hit.common_tokens);
  }
  for (int64_t at = options_.checkpoint_interval; at < size; at += options_.checkpoint_interval) {
    sequence.keep_state_at(at);
  }
}

/// One chunk of each running sequence, in their order.
RecycledVector<model::SequenceChunk> Scheduler::next_chunks() {
  const auto prefilling = std::ranges::count_if(
      running_, [](const auto& sequence) { return sequence->is_prefilling(); });
  const bool shared = prefilling < static_cast<int64_t>(running_.size());
  int64_t budget = shared ? options_.shared_prefill_chunk : options_.prefill_chunk;
  int64_t takers = prefilling;
  RecycledVector<model::SequenceChunk> chunks;
  for (auto& sequence : running_) {
    if (!sequence->is_prefilling()) {
      chunks.push_back(sequence->next_chunk(0));
      continue;
    }
    // Equal shares; what one prompt does not need goes to those behind it.
    chunks.push_back(sequence->next_chunk(std::max<int64_t>(1, budget / takers)));
    budget -= static_cast<int64_t>(chunks.back().tokens.size());
    --takers;
  }
  return chunks;
}

void Scheduler::take_results(const ops::Matrix& logits) {
  int64_t row = 0;
  for (auto& sequence : running_) {
    std::span<const float> own;  // empty while more prompt follows
    if (sequence->wants_logits()) own = logits.row(row++);
    try {
      if (take_result(*sequence, own)) end(sequence, sequence->reason());
    } catch (const std::exception& error) {
      end(sequence, StopReason::failed, error.what());
    }
  }
  remove_ended();
}

/// True: the sequence ended.
bool Scheduler::take_result(Sequence& sequence, std::span<const float> logits) {
  if (sequence.is_in_prompt()) {
    sequence.report_prefill();
    if (sequence.is_worth_keeping()) keep_state(sequence, sequence.prompt());
  }
  if (logits.empty()) return false;
  ++totals_.completion_tokens;
  return sequence.take_logits(logits);
}

void Scheduler::keep_state(const Sequence& sequence, const cache::TokenList& tokens) {
  const Request& request = sequence.request();
  if (!request.use_prefix_cache || !sequence.state().is_exact()) return;
  cache_.insert(request.cache_scope, tokens, sequence.state());
}

void Scheduler::end(std::unique_ptr<Sequence>& sequence, StopReason reason,
                    const std::string& error) {
  reserve(-reserved_bytes(*sequence));  // first: what it held, its state may stay in
  try {
    if (reason != StopReason::failed) keep_state(*sequence, sequence->all_tokens());
  } catch (const std::exception&) {
    // No memory to keep it: the next request computes it again.
  }
  ++totals_.finished;
  sequence->finish(reason, error);
  sequence.reset();
}

void Scheduler::remove_ended() {
  std::erase_if(running_, [](const auto& sequence) { return sequence == nullptr; });
}

EngineStats Scheduler::stats() const {
  EngineStats stats = totals_;
  stats.running = static_cast<int64_t>(running_.size());
  stats.waiting = num_waiting();
  stats.reserved_bytes = reserved_;
  stats.cache_bytes = cache_.size_bytes();
  stats.memory_bytes = options_.memory_bytes;
  return stats;
}

}  // namespace lethe::engine
