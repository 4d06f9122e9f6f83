// Questions in JSON to a server whose abilities show as it answers.
#pragma once
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
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
  int64_t repetition = 0;  // others than 0 are asked anew though the body is the same
  // Throws DataError where an answer lacks what it must have; it is then asked for again. nlohmann's own exceptions
  // count as one.
  std::function<void(const nlohmann::json& answer)> check = [](const nlohmann::json&) {};
  // Where to ask on while the work is not done; see Call::next.
  std::function<std::string(const nlohmann::json& answer)> next = {};
};

class JsonEndpoint {
 public:
  // `optional`: fields that a question may do without, each with the one that takes its place, if any. A server that
  // refuses a question and names one of them is asked without it from then on; the context's progress is warned once.
  // `models_path`: where it says what it serves.
  JsonEndpoint(Endpoint endpoint, const WireOptions& options, std::map<std::string, std::string> optional,
               std::string models_path = "/models");

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
  std::string models_path_;
  std::map<std::string, std::string> optional_;
  std::set<std::string> refused_;
  std::optional<std::string> models_;  // what it serves by the model's name; part of every question's identity
  bool has_answered_ = false;
};

}  // namespace readback::wire
