// A program of the user's as a captioner: "command:PROGRAM ARGUMENT…" (wire/command.h). examples/command_backend.py is
// one.
//   in   {"role": "captioner", "id": 0}
//   out  {"id": 0, "name": …, "honours_seeds": …, "log_probabilities": …, "examples": …, "defaults": {option: value}}
//   in   {"image": PNG in base64, "examples": [image or text, …], "count": 2, "seeds": [one a caption], "options":
//         {"prompt": …, "do_sample": …, …}, "sample": …, "candidate": 0, "id": 1}
//   out  {"id": 1, "captions": [{"text": …, "log_probability": …, "token_ids": …}, …]} or {"id": 1, "error": why}
// All but "name", "captions" and "text" may be left out. An image among the examples is {"image": PNG in base64}.
#pragma once
#include <string>

#include "readback/caption/captioner.h"
#include "readback/wire/command.h"

namespace readback::caption {

class CommandCaptioner : public Captioner {
 public:
  // `seconds`: until an answer must have come. Errors: UsageError, NetworkError.
  CommandCaptioner(const std::string& spec, double seconds);

  std::vector<Result<std::vector<Caption>>> caption(std::span<const Request> requests, const DecodingOptions& options,
                                                    const Context& context) override;
  std::string description() const override { return name_; }
  std::string identity() const override { return spec_ + " (" + name_ + ")"; }
  Capabilities capabilities() const override { return can_; }
  DecodingOptions defaults() const override { return defaults_; }

 private:
  std::string spec_, name_;
  wire::Command command_;
  Capabilities can_;
  DecodingOptions defaults_;
};

}  // namespace readback::caption
