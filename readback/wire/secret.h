// A key, which leaves the process in a request's header and in no other way.
#pragma once
#include <string>

namespace readback::wire {

class Secret {
 public:
  Secret() = default;  // none
  // What the environment variable holds; none where it is not set. Errors: UsageError for a key of several lines.
  static Secret from_environment(const std::string& variable);

  bool empty() const { return key_.empty(); }
  const std::string& variable() const { return variable_; }  // for messages
  std::string header() const;                                // "Authorization: Bearer …"
  // `text` with "[key]" for the key, as it is or as JSON and addresses write it. For all that a server said.
  std::string removed_from(std::string text) const;

 private:
  std::string key_, variable_;
};

}  // namespace readback::wire
