// Child processes, started without a shell.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "readback/base/context.h"

namespace readback {

struct ProcessRequest {
  std::vector<std::string> arguments;    // the program first: a path, or a name that PATH leads to
  std::vector<std::string> environment;  // "NAME=VALUE" on top of our own
  std::chrono::milliseconds timeout{0};  // killed after that; 0: never
};

struct ProcessResult {
  int status = 0;  // what it exited with; 128 + the signal that ended it
  bool timed_out = false;
  std::string errors;  // the end of its standard error, at most 64 KiB
};

// Waits for the end. Its input is empty, what it prints on standard output is dropped. No signal is blocked in it, and
// those that end a program do so, whatever this process blocks or ignores. Errors: Interrupted when a stop is requested
// (the child is killed); DataError when it cannot be started, or when its exit status is lost because this process
// ignores SIGCHLD or waits for any child elsewhere.
ProcessResult run_process(const ProcessRequest& request, const Context& context = {});

}  // namespace readback
