// LAVIS's BLIP in one file (tools/reference/single_file.py) captions as the same weights in a folder do.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "../device.h"
#include "../unwrap.h"
#include "readback/caption/open.h"
#include "readback/checkpoint/config_reader.h"
#include "readback/checkpoint/published.h"
#include "readback/checkpoint/repository.h"
#include "readback/image/codec.h"
#include "readback/models/blip/blip.h"
#include "tests/source_dir.h"

namespace readback::caption {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = tests::source_dir() / "tests/goldens";

Caption caption(const std::string& spec) {
  const auto captioner = open(spec, Machine{.device = test_device()});
  const std::vector<Request> requests = {
      {image::load(kGoldens / "caption/images/0.png", image::Alpha::kOnWhite), "0", 0, {}, {}}};
  return values_of(captioner->caption(requests, {})).front().front();
}

TEST(LavisBlip, CaptionsAsItsFolder) {
  const fs::path files = kGoldens / "single_file";
  const std::string spec = (files / "blip.pth").string() + "@" + (files / "blip").string();
  std::string folder = testing::TempDir() + "readback_lavis_XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  fs::copy(files / "blip", folder, fs::copy_options::recursive);
  checkpoint::save_safetensors(checkpoint::Repository(spec).tensors(), fs::path(folder) / "model.safetensors");
  const Caption one = caption(spec), other = caption(folder);
  EXPECT_EQ(one.token_ids, other.token_ids);
  EXPECT_EQ(one.text, other.text);
  EXPECT_EQ(one.log_probability, other.log_probability);
  fs::remove_all(folder);
}

// LAVIS adds [DEC] and [ENC] to BERT's vocabulary: bert-base-uncased is enough of a base.
TEST(LavisBlip, NeedsOnlyBertsVocabulary) {
  const fs::path files = kGoldens / "single_file";
  std::string folder = testing::TempDir() + "readback_lavis_XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  for (const char* file : {"config.json", "preprocessor_config.json", "vocab.txt"})
    fs::copy(files / "blip" / file, folder);
  const std::string file = (files / "blip.pth").string();
  EXPECT_EQ(caption(file + "@" + folder).text, caption(file + "@" + (files / "blip").string()).text);
  fs::remove_all(folder);
}

// Without a base a file has these.
TEST(LavisBlip, PublishedConfigurationsAreRead) {
  for (const bool large : {false, true}) {
    const auto config =
        models::BlipConfig::read({checkpoint::blip(large, 384).at("config.json"), "published configuration"});
    EXPECT_EQ(config.vision.hidden_size, large ? 1024 : 768);
    EXPECT_EQ(config.vision.num_hidden_layers, large ? 24 : 12);
    EXPECT_EQ(config.text.encoder_hidden_size, config.vision.hidden_size);
    EXPECT_EQ(config.text.bos_token_id, 30522);
  }
}

}  // namespace
}  // namespace readback::caption
