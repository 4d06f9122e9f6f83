// Errors that say where, what was expected, what was found and what to do next.
#pragma once
#include <stdexcept>
#include <string>

namespace readback {

// Base of everything the library throws on bad input. The library never prints and never exits; cli/ does.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class UsageError : public Error {
  using Error::Error;
};  // an option, recipe key or argument is wrong
class CheckpointError : public Error {
  using Error::Error;
};  // a model repository is missing, corrupt or of another kind
class DataError : public Error {
  using Error::Error;
};  // an image, caption or annotation file is unreadable
class StoreError : public Error {
  using Error::Error;
};  // a run folder cannot be written, is in use or differs
class RankError : public Error {
  using Error::Error;
};  // another process of the job is missing or has died
class EngineError : public Error {
  using Error::Error;
};  // the device or libtorch failed, whatever the input was
class OutOfMemory : public EngineError {
  using EngineError::EngineError;
};  // less at once may go
class NetworkError : public Error {
  using Error::Error;
};  // a remote model or hub does not answer as it should
class Interrupted : public Error {
  using Error::Error;
};  // a stop was requested; what is committed is safe

// "WHERE: expected EXPECTED, got GOT. NEXT" with empty parts left out; the one wording of all messages.
std::string describe(const std::string& where, const std::string& expected, const std::string& got,
                     const std::string& next = "");

}  // namespace readback
