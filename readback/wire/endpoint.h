// Where a model elsewhere is, and what its addresses mean.
#pragma once
#include <string>

namespace readback::wire {

// "PROTOCOL:URL#MODEL", such as openai:http://127.0.0.1:8080/v1#smolvlm. The model may be left out.
struct Endpoint {
  std::string protocol;  // "openai"
  std::string url;       // "http://127.0.0.1:8080/v1", without a slash at its end
  std::string model;     // "smolvlm"

  std::string spec() const;
};

// Errors: UsageError, also for an address that holds a user or a password: secrets come from the environment.
Endpoint parse_endpoint(const std::string& spec);

// "http://127.0.0.1:8080": what two addresses of one server have in common. Empty for what is no address.
std::string origin(const std::string& url);
bool is_encrypted(const std::string& url);     // https:
bool is_this_machine(const std::string& url);  // localhost, 127.0.0.0/8 or ::1

}  // namespace readback::wire
