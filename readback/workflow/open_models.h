// The two models that a run's options name, open.
#pragma once
#include <memory>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"
#include "readback/roundtrip/options.h"

namespace readback::workflow {

class ModelsInTurn;

// Both at once, or in turn where options.turns says so. Errors: UsageError, CheckpointError, NetworkError.
class OpenModels {
 public:
  OpenModels(const roundtrip::RunOptions& options, const Machine& machine, const Context& context);
  ~OpenModels();
  OpenModels(const OpenModels&) = delete;
  caption::Captioner& captioner() const;
  generate::Generator& generator() const;

 private:
  std::unique_ptr<ModelsInTurn> in_turn_;
  std::unique_ptr<caption::Captioner> captioner_;
  std::unique_ptr<generate::Generator> generator_;
};

}  // namespace readback::workflow
