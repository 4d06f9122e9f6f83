#include <gtest/gtest.h>

#include "readback/base/error.h"
#include "readback/generate/open.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"

namespace readback::generate {
namespace {

// Draws the same picture always, or half of it.
std::string program(const std::string& picture) {
  return R"(command:python3 -c "
import json, sys
for line in sys.stdin:
    q = json.loads(line)
    a = {'id': q['id'], 'name': 'a painter', 'honours_seeds': True}
    if 'prompt' in q:
        p = ')" +
         picture + R"('
        a['image'] = p if q['prompt'] == 'whole' else p[:len(p) // 8 * 4]
        if q['options']['num_inference_steps'] not in (None, 3): a['error'] = 'three steps'
    print(json.dumps(a), flush=True)
")";
}

TEST(CommandGenerator, AProgramDraws) {
  image::Image image(6, 4);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 3);
  const auto generator = open(program(wire::to_base64(image::encode_png(image))), Machine());
  EXPECT_EQ(generator->description(), "a painter");
  const std::vector<Request> requests = {{.prompt = "whole", .sample = "a"}, {.prompt = "half", .sample = "b"}};
  auto results = generator->generate(requests, {});
  EXPECT_EQ(results[0].value().image, image);
  EXPECT_TRUE(results[0].value().seed);
  EXPECT_FALSE(results[1].ok());
  EXPECT_TRUE(generator->generate(requests, {.num_inference_steps = 3})[0].ok());
  EXPECT_EQ(generator->generate(requests, {.num_inference_steps = 4})[0].failure(), "three steps");
  EXPECT_THROW(generator->generate(requests, {.latents_only = true}), UsageError);
}

}  // namespace
}  // namespace readback::generate
