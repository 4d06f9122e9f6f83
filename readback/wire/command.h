// A program of the user's that answers questions: a line of JSON in, a line of JSON out, in any order.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/result.h"

namespace readback::wire {

// The words of a command line: blanks part them, quotes of either kind hold them together, a backslash takes what
// follows as it is. Errors: UsageError for a quote that does not end, and for no word.
std::vector<std::string> words_of(const std::string& command);

// The program runs as long as the object lives; then its input ends, and it is killed when it does not end by itself.
// Its standard error is ours. No shell is involved.
class Command {
 public:
  // `spec`: "command:PROGRAM ARGUMENT…". `seconds`: until an answer must have come. Errors: UsageError, NetworkError
  // when it cannot be started.
  Command(const std::string& spec, double seconds);
  ~Command();

  // Asks `questions`, each with an "id" of its own added, and waits for the answers with these ids, which come in the
  // questions' order. An answer with "error" is a failure. Errors: NetworkError when the program ends, says something
  // else or says nothing for too long; Interrupted.
  std::vector<Result<nlohmann::json>> ask(std::span<const nlohmann::ordered_json> questions, const Context& context);

 private:
  struct Child;
  std::string spec_;
  double seconds_;
  std::unique_ptr<Child> child_;
  int64_t next_id_ = 0;
};

}  // namespace readback::wire
