#include "serve/http/http_answer.h"

#include <exception>
#include <utility>

#include "base/check.h"

namespace lethe::serve {
namespace {

/// A client that leaves so much of an answer untaken is taken to be gone.
constexpr size_t kMaxUnsentBytes = size_t{32} << 20;

class Exchange final : public HttpExchange {
 public:
  explicit Exchange(std::shared_ptr<HttpAnswer> answer) : answer_(std::move(answer)) {}
  ~Exchange() override { answer_->fail("the request was dropped without an answer"); }

  const HttpRequest& request() const override { return answer_->request(); }
  void respond(HttpResponse response) override { answer_->respond(std::move(response)); }
  void begin(int status, HttpHeaders headers) override {
    answer_->begin(status, std::move(headers));
  }
  void write(std::string bytes) override { answer_->write(std::move(bytes)); }
  void end() override { answer_->end(); }
  void abort() override { answer_->abort(); }
  void on_disconnect(std::function<void()> callback) override {
    answer_->on_disconnect(std::move(callback));
  }
  void after(std::chrono::milliseconds delay, std::function<void()> callback) override {
    answer_->after(delay, std::move(callback));
  }

 private:
  std::shared_ptr<HttpAnswer> answer_;
};

}  // namespace

HttpAnswer::HttpAnswer(HttpRequest request, std::shared_ptr<ServerLoop> loop,
                       std::function<void()> wake)
    : request_(std::move(request)), loop_(std::move(loop)), wake_(std::move(wake)) {}

std::shared_ptr<HttpExchange> HttpAnswer::exchange(std::shared_ptr<HttpAnswer> answer) {
  return std::make_shared<Exchange>(std::move(answer));
}

// One wake-up is enough for all that is written until the connection takes it.
void HttpAnswer::notify(std::unique_lock<std::mutex> lock) {
  const bool posted = std::exchange(wake_posted_, true);
  lock.unlock();
  if (!posted) loop_->post([self = shared_from_this()] { self->wake_(); });
}

void HttpAnswer::respond(HttpResponse response) {
  std::unique_lock lock(mutex_);
  if (!is_open()) return;
  LETHE_CHECK(stage_ == Stage::kWaiting, "respond() after begin()");
  stage_ = Stage::kEnded;
  next_.head = std::move(response);
  next_.whole = true;
  next_.last = true;
  notify(std::move(lock));
}

void HttpAnswer::begin(int status, HttpHeaders headers) {
  std::unique_lock lock(mutex_);
  if (!is_open()) return;
  LETHE_CHECK(stage_ == Stage::kWaiting, "begin() twice");
  stage_ = Stage::kStreaming;
  next_.head = HttpResponse{.status = status, .headers = std::move(headers), .body = ""};
  notify(std::move(lock));
}

void HttpAnswer::write(std::string bytes) {
  if (bytes.empty()) return;
  std::unique_lock lock(mutex_);
  if (!is_open()) return;
  LETHE_CHECK(stage_ == Stage::kStreaming, "write() before begin()");
  if (next_.body.size() + bytes.size() > kMaxUnsentBytes) {
    next_.body.clear();
    lock.unlock();
    loop_->post([self = shared_from_this()] {
      self->disconnected();
      self->wake_();
    });
    return;
  }
  if (next_.body.empty()) {
    next_.body = std::move(bytes);
  } else {
    next_.body += bytes;
  }
  notify(std::move(lock));
}

void HttpAnswer::end() {
  std::unique_lock lock(mutex_);
  if (!is_open()) return;
  LETHE_CHECK(stage_ == Stage::kStreaming, "end() before begin()");
  stage_ = Stage::kEnded;
  next_.last = true;
  notify(std::move(lock));
}

void HttpAnswer::abort() {
  std::unique_lock lock(mutex_);
  if (!is_open()) return;
  stage_ = Stage::kAborted;
  next_.broken = true;
  notify(std::move(lock));
}

void HttpAnswer::fail(std::string message) {
  std::unique_lock lock(mutex_);
  if (!is_open()) return;
  if (stage_ == Stage::kWaiting) {
    stage_ = Stage::kEnded;
    next_.failure = std::move(message);
    next_.last = true;
  } else {
    stage_ = Stage::kAborted;
    next_.broken = true;
  }
  notify(std::move(lock));
}

void HttpAnswer::on_disconnect(std::function<void()> callback) {
  std::unique_lock lock(mutex_);
  if (is_open()) {
    on_disconnect_.push_back(std::move(callback));
    return;
  }
  const bool gone = stage_ == Stage::kGone;
  lock.unlock();  // also before an unwanted callback is destroyed
  if (!gone) return;
  loop_->post([self = shared_from_this(), call_it = std::move(callback)] { self->call(call_it); });
}

void HttpAnswer::after(std::chrono::milliseconds delay, std::function<void()> callback) {
  loop_->post([self = shared_from_this(), delay, call_it = std::move(callback)]() mutable {
    self->start_timer(delay, std::move(call_it));
  });
}

void HttpAnswer::start_timer(std::chrono::milliseconds delay, std::function<void()> callback) {
  if (!open()) return;
  const uint64_t id = timers_started_++;
  timers_[id] = loop_->start_timer(
      delay, [self = shared_from_this(), id, call_it = std::move(callback)]() mutable {
        // Absent: the answer is over, and this was already under way.
        if (self->timers_.erase(id) > 0 && self->open()) self->call(call_it);
      });
}

void HttpAnswer::call(const std::function<void()>& callback) {
  try {
    callback();
  } catch (const std::exception& error) {
    fail(error.what());
  } catch (...) {
    fail("unknown exception");
  }
}

HttpAnswerPart HttpAnswer::take() {
  const std::lock_guard lock(mutex_);
  wake_posted_ = false;
  HttpAnswerPart part = std::exchange(next_, {});
  if (stage_ == Stage::kGone) part.broken = true;
  return part;
}

bool HttpAnswer::open() const {
  const std::lock_guard lock(mutex_);
  return is_open();
}

void HttpAnswer::disconnected() {
  std::unique_lock lock(mutex_);
  const bool tell = is_open();
  stage_ = Stage::kGone;
  next_ = {};
  const auto callbacks = std::exchange(on_disconnect_, {});
  lock.unlock();
  const auto timers = std::exchange(timers_, {});
  if (!tell) return;
  for (const auto& callback : callbacks) call(callback);
}

void HttpAnswer::finished() {
  std::unique_lock lock(mutex_);
  if (is_open()) stage_ = Stage::kEnded;
  const auto callbacks = std::exchange(on_disconnect_, {});
  lock.unlock();
  const auto timers = std::exchange(timers_, {});
}

}  // namespace lethe::serve
