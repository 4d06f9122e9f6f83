// A captioner and a generator of which one is in memory at a time.
#pragma once
#include <functional>
#include <memory>

#include "readback/base/machine.h"
#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"

namespace readback::workflow {

// Either is opened when it is asked for something, and closed when the other one is. Each is opened once at first, to
// learn what it is.
class ModelsInTurn {
 public:
  using OpenCaptioner = std::function<std::unique_ptr<caption::Captioner>()>;
  using OpenGenerator = std::function<std::unique_ptr<generate::Generator>()>;
  // Errors: what opening them throws, here and whenever a model is asked.
  ModelsInTurn(OpenCaptioner captioner, OpenGenerator generator, c10::Device device);
  ~ModelsInTurn();
  ModelsInTurn(const ModelsInTurn&) = delete;
  caption::Captioner& captioner();
  generate::Generator& generator();

 private:
  class Seat;
  class Captioner;
  class Generator;
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<Captioner> captioner_;
  std::unique_ptr<Generator> generator_;
};

// Whether the weights of both repositories have room on the device at once, in the machine's type. Errors:
// CheckpointError.
bool fit_together(const std::string& captioner, const std::string& generator, const Machine& machine);

}  // namespace readback::workflow
