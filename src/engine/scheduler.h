#pragma once

#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "cache/prefix_cache.h"
#include "engine/engine_options.h"
#include "engine/sequence.h"
#include "model/model.h"

namespace lethe::engine {

/// Shares one model among requests (continuous batching): every step computes one token of each
/// request that is being answered and a chunk of the prompts that are not taken in yet, in one
/// forward pass. Requests start in the order they came, when memory and a place are free.
///
/// A plain object without threads: Engine runs one on its own thread, tests call step() themselves.
/// Source: design sections 4 and 5.
class Scheduler {
 public:
  /// `check` is called before each forward pass and may throw Error (a model file has changed): all
  /// running requests fail then.
  Scheduler(model::Model& model, const EngineOptions& options, std::function<void()> check = {});
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Takes a request in. It must have passed check_request() (check_request.h).
  void add(std::unique_ptr<Sequence> sequence);
  /// Ends a request between two steps, if it is still there.
  void cancel(RequestId id);
  /// Ends all requests.
  void stop_all(StopReason reason);

  bool has_work() const noexcept { return !running_.empty() || !waiting_.empty(); }
  /// Starts what can start. step() does so itself; called before it, stats() tells of the step.
  void admit();
  /// admit(), then computes one forward pass and delivers. Does nothing without work.
  void step();

  int64_t num_waiting() const noexcept { return static_cast<int64_t>(waiting_.size()); }
  EngineStats stats() const;

 private:
  int64_t reserved_bytes(const Sequence& sequence) const;
  void reserve(int64_t bytes);
  void start(Sequence& sequence);
  RecycledVector<model::SequenceChunk> next_chunks();
  void take_results(const ops::Matrix& logits);
  bool take_result(Sequence& sequence, std::span<const float> logits);
  void keep_state(const Sequence& sequence, const cache::TokenList& tokens);
  void end(std::unique_ptr<Sequence>& sequence, StopReason reason, const std::string& error = {});
  void remove_ended();

  model::Model& model_;
  EngineOptions options_;
  std::function<void()> check_;
  model::StateLayout layout_;
  cache::PrefixCache cache_;
  std::list<std::unique_ptr<Sequence>> waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;  // null: ended in this step
  int64_t reserved_ = 0;
  EngineStats totals_;
};

}  // namespace lethe::engine
