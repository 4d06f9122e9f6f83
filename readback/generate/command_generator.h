// A program of the user's as a generator: "command:PROGRAM ARGUMENT…" (wire/command.h). examples/command_backend.py is
// one.
//   in   {"role": "generator", "id": 0}
//   out  {"id": 0, "name": …, "honours_seeds": …}
//   in   {"prompt": …, "seed": 17, "options": {"num_inference_steps": …, …}, "sample": …, "candidate": 0, "id": 1}
//   out  {"id": 1, "image": a picture's file in base64} or {"id": 1, "error": why}
// Options that nobody gave are null: the program's own apply.
#pragma once
#include <string>

#include "readback/generate/generator.h"
#include "readback/wire/command.h"

namespace readback::generate {

class CommandGenerator : public Generator {
 public:
  // `seconds`: until an answer must have come. Errors: UsageError, NetworkError.
  CommandGenerator(const std::string& spec, double seconds);

  std::vector<Result<Picture>> generate(std::span<const Request> requests, const GenerationOptions& options,
                                        const Context& context) override;
  std::string description() const override { return name_; }
  std::string identity() const override { return spec_ + " (" + name_ + ")"; }
  Capabilities capabilities() const override { return can_; }

 private:
  std::string spec_, name_;
  wire::Command command_;
  Capabilities can_;
};

}  // namespace readback::generate
