#include "readback/workflow/models_in_turn.h"

#include <mutex>

#include "readback/base/device.h"
#include "readback/base/memory.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/checkpoint/repository.h"
#include "readback/workflow/describe_model.h"

namespace readback::workflow {

// The place in memory that the models take in turn.
class ModelsInTurn::Seat {
 public:
  Seat(OpenCaptioner captioner, OpenGenerator generator, c10::Device device)
      : open_captioner_(std::move(captioner)), open_generator_(std::move(generator)), device_(device) {}

  // work(model) while the model is there; nobody else sits down meanwhile.
  template <typename Work>
  auto with_captioner(const Work& work) {
    const std::lock_guard lock(mutex_);
    sit_down(captioner_, generator_, open_captioner_);
    return work(*captioner_);
  }
  template <typename Work>
  auto with_generator(const Work& work) {
    const std::lock_guard lock(mutex_);
    sit_down(generator_, captioner_, open_generator_);
    return work(*generator_);
  }

 private:
  template <typename Model, typename Other, typename Open>
  void sit_down(std::unique_ptr<Model>& model, std::unique_ptr<Other>& other, const Open& open) {
    if (model) return;
    other.reset();
    return_freed_memory(device_);
    model = open();
  }

  std::mutex mutex_;
  OpenCaptioner open_captioner_;
  OpenGenerator open_generator_;
  c10::Device device_;
  std::unique_ptr<caption::Captioner> captioner_;
  std::unique_ptr<generate::Generator> generator_;
};

class ModelsInTurn::Captioner final : public caption::Captioner {
 public:
  explicit Captioner(Seat& seat) : seat_(seat) {
    seat_.with_captioner([this](const caption::Captioner& model) {
      description_ = model.description();
      identity_ = model.identity();
      capabilities_ = model.capabilities();
      defaults_ = model.defaults();
    });
  }
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions& options,
                                                             const Context& context) override {
    return seat_.with_captioner([&](auto& model) { return model.caption(requests, options, context); });
  }
  std::vector<Result<caption::TextProbability>> text_probabilities(std::span<const image::Image* const> images,
                                                                   std::span<const std::string> texts,
                                                                   const Context& context) override {
    return seat_.with_captioner([&](auto& model) { return model.text_probabilities(images, texts, context); });
  }
  std::vector<Result<double>> answer_probabilities(std::span<const image::Image* const> images,
                                                   std::span<const std::string> questions, const std::string& answer,
                                                   const Context& context) override {
    return seat_.with_captioner(
        [&](auto& model) { return model.answer_probabilities(images, questions, answer, context); });
  }
  std::string description() const override { return description_; }
  std::string identity() const override { return identity_; }
  caption::Capabilities capabilities() const override { return capabilities_; }
  caption::DecodingOptions defaults() const override { return defaults_; }

 private:
  Seat& seat_;
  std::string description_, identity_;
  caption::Capabilities capabilities_;
  caption::DecodingOptions defaults_;
};

class ModelsInTurn::Generator final : public generate::Generator {
 public:
  explicit Generator(Seat& seat) : seat_(seat) {
    seat_.with_generator([this](const generate::Generator& model) {
      description_ = model.description();
      identity_ = model.identity();
      capabilities_ = model.capabilities();
      defaults_ = model.defaults();
      defaults_rule_ = model.defaults_rule();
    });
  }
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                  const generate::GenerationOptions& options,
                                                  const Context& context) override {
    return seat_.with_generator([&](auto& model) { return model.generate(requests, options, context); });
  }
  std::vector<Result<double>> denoising_errors(std::span<const image::Image* const> images,
                                               std::span<const std::string> prompts, const Context& context) override {
    return seat_.with_generator([&](auto& model) { return model.denoising_errors(images, prompts, context); });
  }
  std::string description() const override { return description_; }
  std::string identity() const override { return identity_; }
  generate::Capabilities capabilities() const override { return capabilities_; }
  generate::GenerationOptions defaults() const override { return defaults_; }
  std::string defaults_rule() const override { return defaults_rule_; }

 private:
  Seat& seat_;
  std::string description_, identity_, defaults_rule_;
  generate::Capabilities capabilities_;
  generate::GenerationOptions defaults_;
};

// The generator first: a run begins with captions.
ModelsInTurn::ModelsInTurn(OpenCaptioner captioner, OpenGenerator generator, c10::Device device)
    : seat_(std::make_unique<Seat>(std::move(captioner), std::move(generator), device)),
      generator_(std::make_unique<Generator>(*seat_)) {
  captioner_ = std::make_unique<Captioner>(*seat_);
}

ModelsInTurn::~ModelsInTurn() = default;
caption::Captioner& ModelsInTurn::captioner() { return *captioner_; }
generate::Generator& ModelsInTurn::generator() { return *generator_; }

bool fit_together(const std::string& captioner, const std::string& generator, const Machine& machine) {
  constexpr int64_t kSmall = int64_t{1} << 28, kReserve = int64_t{2} << 30;  // for activations
  int64_t weights = 0;
  for (const std::string& name : {captioner, generator}) {
    if (!checkpoint::scheme(name).empty()) continue;  // it lies elsewhere
    const checkpoint::Repository repository(name, machine.variant, checkpoint::Repository::Contents::kHeaders);
    for (const ModelPart& part : parts_of(repository)) {
      weights += part.parameters * static_cast<int64_t>(c10::elementSize(machine.dtype));
    }
  }
  return weights <= kSmall || weights + kReserve <= free_memory(machine.device);
}

}  // namespace readback::workflow
