#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/system_memory.h"
#include "engine/scheduler.h"

namespace lethe::engine {

namespace {

EngineOptions resolved(EngineOptions options, const ModelConfig& config) {
  if (options.prefill_chunk == 0) options.prefill_chunk = default_prefill_chunk(config);
  if (options.prefill_chunk < 1 || options.shared_prefill_chunk < 1) {
    throw UsageError("a prefill chunk is at least 1 token");
  }
  if (options.max_running < 1 || options.max_waiting < 0 || options.memory_bytes < 0 ||
      options.checkpoint_interval < 1) {
    throw UsageError("engine options must not be negative, and one request must be able to run");
  }
  options.shared_prefill_chunk = std::min(options.shared_prefill_chunk, options.prefill_chunk);
  if (options.memory_bytes == 0) options.memory_bytes = available_memory_bytes() / 4;
  return options;
}

}  // namespace

struct Engine::Impl {
  Impl(model::Model& m, EngineOptions o, std::function<void()> check)
      : model(m), options(resolved(o, m.config())), scheduler(m, options, std::move(check)) {
    stats.memory_bytes = options.memory_bytes;
  }

  void loop();

  model::Model& model;
  const EngineOptions options;
  Scheduler scheduler;  // the thread's own

  mutable std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::unique_ptr<Sequence>> arrivals;
  std::vector<RequestId> cancellations;
  std::atomic<RequestId> last_id = 0;
  bool stopping = false;
  EngineStats stats;
  std::thread thread;
};

void Engine::Impl::loop() {
  std::unique_lock lock(mutex);
  for (;;) {
    wake.wait(lock, [&] {
      return stopping || !arrivals.empty() || !cancellations.empty() || scheduler.has_work();
    });
    auto arrived = std::exchange(arrivals, {});
    const auto cancelled = std::exchange(cancellations, {});
    const bool stop = stopping;
    lock.unlock();
    // No lock is held from here on: sinks may call submit() and cancel().
    for (auto& sequence : arrived) {
      scheduler.add(std::move(sequence));
    }
    for (const RequestId id : cancelled) scheduler.cancel(id);
    if (!stop) scheduler.admit();
    // A step can take long: what it runs and what waits for it is to be seen, and counted,
    // meanwhile.
    lock.lock();
    stats = scheduler.stats();
    lock.unlock();
    if (stop) {
      scheduler.stop_all(StopReason::shutdown);
    } else {
      scheduler.step();
    }
    lock.lock();
    stats = scheduler.stats();
    if (stop && arrivals.empty()) return;
  }
}

Engine::Engine(model::Model& model, EngineOptions options, std::function<void()> check)
    : impl_(std::make_unique<Impl>(model, options, std::move(check))) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
}

Engine::~Engine() {
  shut_down();
  impl_->thread.join();
}

void Engine::shut_down() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
}

RequestId Engine::submit(Request request, std::shared_ptr<RequestSink> sink) {
  check_request(request, impl_->model, impl_->options);
  const RequestId id = ++impl_->last_id;
  Sampler sampler = make_sampler(request, impl_->model);
  auto sequence =
      std::make_unique<Sequence>(id, std::move(request), std::move(sink), std::move(sampler));
  std::lock_guard lock(impl_->mutex);
  if (impl_->stopping) throw ShutDownError("Lethe is shutting down: no new requests are taken.");
  const EngineOptions& options = impl_->options;
  const auto waiting = impl_->stats.waiting + static_cast<int64_t>(impl_->arrivals.size());
  const int64_t free = std::max<int64_t>(0, options.max_running - impl_->stats.running);
  if (waiting >= options.max_waiting + free) {
    throw BusyError(
        "{} requests wait already, as many as may (--max-waiting). Try again in a moment.",
        waiting);
  }
  impl_->arrivals.push_back(std::move(sequence));
  impl_->wake.notify_all();
  return id;
}

void Engine::cancel(RequestId id) {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->cancellations.push_back(id);
  }
  impl_->wake.notify_all();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(impl_->mutex);
  EngineStats stats = impl_->stats;
  stats.waiting += static_cast<int64_t>(impl_->arrivals.size());
  return stats;
}

const EngineOptions& Engine::options() const noexcept {
  return impl_->options;
}

}  // namespace lethe::engine
