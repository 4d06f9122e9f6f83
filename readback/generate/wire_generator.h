// Generators that a server offers, by one of three protocols:
//   openai:URL  POST …/images/generations (sd-server, vLLM-Omni, LocalAI, SGLang, OpenAI), answered by b64_json
//   sdapi:URL   POST …/sdapi/v1/txt2img (AUTOMATIC1111's, sd-server)
//   sdcpp:URL   POST …/sdcpp/v1/img_gen (stable-diffusion.cpp's jobs)
#pragma once
#include <array>
#include <string>

#include "readback/generate/generator.h"
#include "readback/wire/json_endpoint.h"

namespace readback::generate {

inline constexpr std::array<const char*, 3> kWireProtocols = {"openai:", "sdapi:", "sdcpp:"};

struct WireProtocol;  // what differs between them

// What is not given is left to the server. A candidate is a request of its own, with a seed of its own. Whether seeds
// are honoured is tried: the same small picture is asked for twice, unless pictures cost something (picture_price),
// when nothing is promised.
class WireGenerator : public Generator {
 public:
  // `asks` false: nothing is asked, nothing is promised, and generate() must not be called. Errors: UsageError,
  // NetworkError.
  WireGenerator(const std::string& spec, const wire::WireOptions& options, bool asks = true);

  std::vector<Result<Picture>> generate(std::span<const Request> requests, const GenerationOptions& options,
                                        const Context& context) override;

  std::string description() const override;
  std::string identity() const override { return endpoint_.client().endpoint().spec(); }
  Capabilities capabilities() const override { return can_; }
  std::string estimate(int64_t pictures) const override {
    return endpoint_.client().estimate(pictures, price_ * static_cast<double>(pictures));
  }
  std::string account() const override { return endpoint_.client().sentence(); }

 private:
  wire::Question question(const Request& request, const GenerationOptions& options) const;
  void try_seeds();

  const WireProtocol& protocol_;
  wire::JsonEndpoint endpoint_;
  double price_;
  Capabilities can_;
};

}  // namespace readback::generate
