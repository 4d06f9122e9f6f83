// Questions in JSON to a server whose abilities show as it answers.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "readback/wire/client.h"

namespace readback::wire {

struct Question {
  std::string path;
  nlohmann::ordered_json body;  // the model's name is added to it
  double price = 0;
  // Throws DataError where an answer lacks what it must have; it is then asked for again. nlohmann's own exceptions
  // count as one.
  std::function<void(const nlohmann::json& answer)> check = [](const nlohmann::json&) {};
};

class JsonEndpoint {
 public:
  // `optional`: fields that a question may do without. A server that refuses a question and names one of them is asked
  // without it from then on; the context's progress is warned once.
  JsonEndpoint(Endpoint endpoint, const WireOptions& options, std::set<std::string> optional);

  // One result a question. A question's identity is its body as it was wished, whatever the server refuses, and what
  // the server says of its models. A failure: what Client::ask calls one, or a question that the server refuses.
  // Errors: as Client::ask; NetworkError where there is no such path or model (404, 405, 501).
  std::vector<Result<nlohmann::json>> ask(std::span<const Question> questions, const Context& context);

  bool refuses(const std::string& field) const { return refused_.contains(field); }
  Client& client() { return client_; }
  const Client& client() const { return client_; }

 private:
  std::vector<Result<nlohmann::json>> ask_all(std::span<const Question> questions, const Context& context);
  Call call_of(const Question& question) const;
  bool learn(const Answer& answer, const nlohmann::ordered_json& body, const Context& context);
  void ask_for_models(const Context& context);

  Client client_;
  std::set<std::string> optional_, refused_;
  std::optional<std::string> models_;  // what it serves by the model's name; part of every question's identity
  bool has_answered_ = false;
};

}  // namespace readback::wire
