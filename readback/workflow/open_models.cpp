#include "readback/workflow/open_models.h"

#include "readback/caption/open.h"
#include "readback/generate/open.h"
#include "readback/wire/hub.h"
#include "readback/workflow/models_in_turn.h"

namespace readback::workflow {

OpenModels::OpenModels(const roundtrip::RunOptions& options, const Machine& machine, const Context& context) {
  const std::string captioner = wire::pulled(options.captioner, options.wire, context);
  const std::string generator = wire::pulled(options.generator, options.wire, context);
  const auto open_captioner = [=] { return caption::open(captioner, machine, options.wire); };
  const auto open_generator = [=] { return generate::open(generator, machine, options.wire); };
  const bool fit = options.turns != roundtrip::Turns::kAuto || fit_together(captioner, generator, machine);
  if (!fit) context.progress().note("the two models do not fit into memory together: they take turns");
  if (!fit || options.turns == roundtrip::Turns::kAlways) {
    in_turn_ = std::make_unique<ModelsInTurn>(open_captioner, open_generator, machine.device);
  } else {
    captioner_ = open_captioner();
    generator_ = open_generator();
  }
}

OpenModels::~OpenModels() = default;

caption::Captioner& OpenModels::captioner() const { return in_turn_ ? in_turn_->captioner() : *captioner_; }

generate::Generator& OpenModels::generator() const { return in_turn_ ? in_turn_->generator() : *generator_; }

}  // namespace readback::workflow
