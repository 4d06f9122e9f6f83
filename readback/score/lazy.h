// A value that is made when it is first asked for.
#pragma once
#include <functional>
#include <memory>
#include <utility>

namespace readback::score {

// Copies share the value.
template <typename T>
class Lazy {
 public:
  Lazy() = default;  // none
  Lazy(std::shared_ptr<T> value) { state_->value = std::move(value); }
  explicit Lazy(std::function<std::shared_ptr<T>()> make) { state_->make = std::move(make); }

  bool given() const { return state_->value || state_->make; }
  bool loaded() const { return state_->value != nullptr; }
  // Null when none was given. Errors: what making it throws.
  std::shared_ptr<T> get() const {
    if (!state_->value && state_->make) state_->value = state_->make();
    return state_->value;
  }

 private:
  struct State {
    std::function<std::shared_ptr<T>()> make;
    std::shared_ptr<T> value;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace readback::score
