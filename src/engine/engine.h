#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "engine/check_request.h"
#include "engine/engine_options.h"
#include "engine/request.h"
#include "model/model.h"

namespace lethe::engine {

/// Too many requests wait already: try again later.
class BusyError : public Error {
 public:
  using Error::Error;
};

/// The engine takes no more requests: see Engine::shut_down().
class ShutDownError : public Error {
 public:
  using Error::Error;
};

/// Runs requests on a model: one thread of its own that owns the model and all states; everybody
/// else talks to it through submit() and cancel(), which any thread may call and which never wait
/// for a forward pass. Source: design section 4.
class Engine {
 public:
  /// The model must outlive the engine, and nobody else may use it meanwhile. `check`: see
  /// Scheduler. Throws UsageError for options that make no sense.
  Engine(model::Model& model, EngineOptions options, std::function<void()> check = {});
  /// shut_down(), and waits for it.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Takes a request in; `sink` hears of it from the engine's thread, and is kept until its
  /// on_finish(). Throws what check_request() and Sampler throw, BusyError if too many wait, and
  /// ShutDownError; the sink hears nothing then.
  RequestId submit(Request request, std::shared_ptr<RequestSink> sink);

  /// Ends a request after the step that runs now; its sink hears StopReason::cancelled. Nothing
  /// happens if it has ended already.
  void cancel(RequestId id);

  /// Ends everything with StopReason::shutdown after the step that runs now, without waiting for
  /// it.
  void shut_down();

  EngineStats stats() const;
  /// With the memory budget resolved.
  const EngineOptions& options() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lethe::engine
