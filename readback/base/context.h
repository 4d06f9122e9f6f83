// What travels with a call: how it is stopped, and who hears how far it is. There is no process-wide state: two calls
// in one process are stopped each by its own context.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "readback/base/progress.h"

namespace readback::image {
struct Image;
}

namespace readback {

// A token was chosen. With beams it is the best beam's, which a later token may replace.
struct TokenEvent {
  std::string sample;
  int64_t candidate = 0;
  std::string text;  // all of the caption so far, without the prompt
};

// A denoising step was taken.
struct StepEvent {
  std::string sample;
  int64_t candidate = 0;
  int64_t step = 0, steps = 0;            // 1 … steps
  std::function<image::Image()> preview;  // what the picture looks like so far; costs time only when it is called
};

// A candidate of a run is complete and stored.
struct CandidateEvent {
  std::string direction, sample;  // direction: "i2t2i" or "t2i2t"
  int64_t candidate = 0;
  std::string text, image;  // image: relative to the run folder
};

// A candidate of a run was measured.
struct ScoreEvent {
  std::string direction, sample;
  int64_t candidate = 0;
  std::string metric;
  std::optional<double> value;  // none: not defined for these inputs
};

// Hears events as they happen, on the thread that makes them. A backend may compute several requests of a call on
// threads of its own: on_token and on_step must bear being called by several at once. What they throw ends the call.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_token(const TokenEvent&) {}
  virtual void on_step(const StepEvent&) {}
  virtual void on_candidate(const CandidateEvent&) {}
  virtual void on_score(const ScoreEvent&) {}
};

// A copy means the same stop, progress and observer. These must outlive the calls.
class Context {
 public:
  Context() = default;  // is never stopped and tells nobody
  explicit Context(std::stop_token stop, Progress* progress = nullptr, Observer* observer = nullptr)
      : stop_(std::move(stop)), progress_(progress), observer_(observer) {}
  Context(Progress& progress) : progress_(&progress) {}  // is never stopped

  bool stopped() const { return stop_.stop_requested(); }
  // Long loops call it between units of work. Errors: Interrupted once a stop was requested.
  void check() const;
  const std::stop_token& stop_token() const { return stop_; }

  Progress& progress() const;                       // one that says nothing when none was given
  Observer* observer() const { return observer_; }  // null: nobody listens

 private:
  std::stop_token stop_;
  Progress* progress_ = nullptr;
  Observer* observer_ = nullptr;
};

}  // namespace readback
