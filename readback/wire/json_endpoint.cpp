#include "readback/wire/json_endpoint.h"

#include <algorithm>

#include "readback/base/error.h"

namespace readback::wire {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

json parse(const std::string& body) {
  json answer = json::parse(body, nullptr, false);
  if (answer.is_discarded())
    throw DataError(describe("the answer", "JSON", std::to_string(body.size()) + " bytes of other kind"));
  return answer;
}

// What a server says when it refuses, without the wrapping that it has.
std::string message_of(const std::string& body) {
  const json answer = json::parse(body, nullptr, false);
  const json* found = &answer;
  for (const char* key : {"error", "detail", "message"}) {
    if (found->is_object() && found->contains(key)) found = &found->at(key);
  }
  std::string text = answer.is_discarded() ? body
                     : found->is_string()  ? found->get<std::string>()
                                           : found->dump(-1, ' ', false, json::error_handler_t::replace);
  constexpr size_t kMost = 500;
  if (text.size() > kMost) text = text.substr(0, kMost) + " …";
  return text;
}

// Whether `text` has `word` not as a part of another one.
bool names(const std::string& text, const std::string& word) {
  const auto inside = [&](size_t at) {
    return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_');
  };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    if (!inside(at - 1) && !inside(at + word.size())) return true;
  }
  return false;
}

}  // namespace

JsonEndpoint::JsonEndpoint(Endpoint endpoint, const WireOptions& options, std::map<std::string, std::string> optional,
                           std::string models_path)
    : client_(std::move(endpoint), options), models_path_(std::move(models_path)), optional_(std::move(optional)) {}

// A local server may serve another model under the same name and address tomorrow: what it says of the model, but for
// what changes from one moment to the next, tells answers apart.
void JsonEndpoint::ask_for_models(const Context& context) {
  if (models_) return;
  const Call call{.path = models_path_, .body = "", .keep = false};
  const auto answer = client_.ask(std::span(&call, 1), context).front();
  models_ = "";
  if (!answer || answer.value().status != 200) return;  // many servers have no such list
  const json list = json::parse(answer.value().body, nullptr, false);
  if (!list.is_object()) return;
  for (const char* key : {"sd_model_checkpoint", "sd_checkpoint_hash", "model"}) {  // of sdapi and sdcpp
    if (list.contains(key)) *models_ += list[key].dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  if (!list.contains("data") || !list["data"].is_array()) return;
  const std::string& model = client_.endpoint().model;
  for (const json& entry : list["data"]) {
    if (!entry.is_object() || (!model.empty() && entry.value("id", json()) != model)) continue;
    for (const char* key : {"id", "root", "meta"}) {
      if (entry.contains(key)) *models_ += entry[key].dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    }
  }
}

Call JsonEndpoint::call_of(const Question& question) const {
  ordered_json body;
  if (!client_.endpoint().model.empty()) body["model"] = client_.endpoint().model;
  body.update(question.body);
  Call call{.path = question.path, .price = question.price};
  const auto text = [](const ordered_json& j) {
    return j.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  };
  call.identity = *models_ + text(body) + (question.repetition == 0 ? "" : std::to_string(question.repetition));
  for (const std::string& field : refused_) {
    const std::string& other = optional_.at(field);
    if (!other.empty() && body.contains(field)) body[other] = body[field];
    body.erase(field);
  }
  call.body = text(body);
  const auto say = [](const auto& work, const std::string& bytes) {
    try {
      return work(parse(bytes));
    } catch (const json::exception& error) {
      throw DataError(describe("the answer", "what the protocol says", error.what()));
    }
  };
  if (question.next) call.next = [=, next = question.next](const std::string& bytes) { return say(next, bytes); };
  call.check = [=, check = question.check](const std::string& bytes) { say(check, bytes); };
  return call;
}

// Whether the answer teaches that a field must be left out.
bool JsonEndpoint::learn(const Answer& answer, const ordered_json& body, const Context& context) {
  if (answer.status != 400 && answer.status != 422) return false;
  bool learned = false;
  for (const auto& [field, other] : optional_) {
    if (!body.contains(field) || !names(answer.body, field)) continue;
    learned = true;
    if (!refused_.insert(field).second) continue;
    context.progress().warn(describe(client_.endpoint().spec(), field, "a server that refuses it",
                                     other.empty() ? "It is asked without from now on" : "It is sent as " + other));
  }
  return learned;
}

std::vector<Result<json>> JsonEndpoint::ask(std::span<const Question> questions, const Context& context) {
  ask_for_models(context);
  if (has_answered_ || questions.empty()) return ask_all(questions, context);
  // What the server does not know is learned from one question, not from as many as go at once.
  std::vector<Result<json>> results = ask_all(questions.first(1), context);
  has_answered_ = true;
  for (Result<json>& result : ask_all(questions.subspan(1), context)) results.push_back(std::move(result));
  return results;
}

std::vector<Result<json>> JsonEndpoint::ask_all(std::span<const Question> questions, const Context& context) {
  std::vector<Result<json>> results(questions.size(), Failure{});
  std::vector<size_t> open(questions.size());
  for (size_t i = 0; i < open.size(); ++i) open[i] = i;
  while (!open.empty()) {
    std::vector<Call> calls;
    for (const size_t i : open) calls.push_back(call_of(questions[i]));
    const auto answers = client_.ask(calls, context);
    std::vector<size_t> again;
    for (size_t k = 0; k < open.size(); ++k) {
      const size_t i = open[k];
      if (!answers[k]) {
        results[i] = Failure{answers[k].failure()};
        continue;
      }
      const Answer& answer = answers[k].value();
      if (answer.status >= 200 && answer.status < 300) {
        results[i] = parse(answer.body);
        continue;
      }
      const std::string where = client_.endpoint().url + questions[i].path;
      const std::string got = "status " + std::to_string(answer.status) + ": " + message_of(answer.body);
      if (answer.status == 404 || answer.status == 405 || answer.status == 501) {
        throw NetworkError(describe(where,
                                    "a server that knows this path and the model \"" + client_.endpoint().model + "\"",
                                    got, "A model is named behind '#'"));
      }
      if (learn(answer, ordered_json::parse(calls[k].body), context)) {
        again.push_back(i);
      } else {
        results[i] = Failure{describe(where, "an answer", got)};
      }
    }
    open = std::move(again);
  }
  return results;
}

}  // namespace readback::wire
