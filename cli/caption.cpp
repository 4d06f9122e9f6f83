#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/base/stopwatch.h"
#include "readback/caption/open.h"
#include "readback/caption/shots.h"
#include "readback/image/codec.h"

namespace readback::cli {

namespace {

struct CaptionFlags {
  MachineFlags machine;
  caption::DecodingOptions decoding;
  wire::WireOptions wire;
  std::string captioner = "emoji-scenes/captioner", shots, format = "text";
  std::vector<std::string> images;
  int64_t batch_size = 8;
};

void print(const std::string& image, const std::vector<caption::Caption>& captions, double seconds,
           const std::string& format) {
  if (format == "jsonl") {
    nlohmann::ordered_json line = {{"image", image}, {"captions", nlohmann::ordered_json::array()}};
    for (const caption::Caption& caption : captions) {
      nlohmann::ordered_json entry = {{"text", caption.text}};
      if (caption.token_ids) entry["token_ids"] = *caption.token_ids;
      if (caption.log_probability) entry["log_probability"] = *caption.log_probability;
      line["captions"].push_back(std::move(entry));
    }
    line["seconds"] = seconds;
    fmt::print("{}\n", line.dump());
    return;
  }
  for (const caption::Caption& caption : captions) fmt::print("{}\t{}\n", image, caption.text);
}

void run(CaptionFlags& flags) {
  const std::vector<caption::Part> examples = caption::read_shots(flags.shots);
  const auto progress = make_progress();
  const Context context = context_with(*progress);
  const auto captioner = caption::open(flags.captioner, flags.machine.open(), flags.wire, context);
  caption::expect_examples_taken(examples, *captioner);
  const auto total = static_cast<int64_t>(flags.images.size());
  note(*progress, captioner->estimate(total, flags.decoding.num_captions));
  progress->begin("caption", total);
  int64_t failed = 0;
  const auto fail = [&](const std::string& path, const std::string& why) {
    ++failed;
    progress->note(why);
    if (flags.format == "jsonl") fmt::print("{}\n", nlohmann::ordered_json{{"image", path}, {"error", why}}.dump());
  };
  for (int64_t begin = 0; begin < total; begin += flags.batch_size) {
    context.check();
    std::vector<caption::Request> requests;
    for (int64_t i = begin; i < std::min(begin + flags.batch_size, total); ++i) {
      const std::string& path = flags.images[static_cast<size_t>(i)];
      try {
        requests.push_back({image::load(path, image::Alpha::kOnWhite), path, 0, {}, examples});
      } catch (const DataError& error) {
        fail(path, error.what());
      }
    }
    if (!requests.empty()) {
      const Stopwatch clock;
      const auto results = captioner->caption(requests, flags.decoding, context);
      const double seconds = clock.seconds() / static_cast<double>(requests.size());
      for (size_t i = 0; i < requests.size(); ++i) {
        if (results[i].ok()) {
          print(requests[i].sample, results[i].value(), seconds, flags.format);
        } else {
          fail(requests[i].sample, results[i].failure());
        }
      }
    }
    progress->advance(std::min(flags.batch_size, total - begin));
  }
  progress->end();
  note(*progress, captioner->account());
  if (failed > 0) throw DataError(fmt::format("{} of {} images have no caption", failed, total));
}

}  // namespace

void add_caption(CLI::App& app) {
  auto flags = std::make_shared<CaptionFlags>();
  CLI::App* verb = app.add_subcommand("caption", "Say what images show");
  verb->footer(
      "Examples:\n"
      "  readback caption photo.jpg\n"
      "  readback caption --captioner Salesforce/blip-image-captioning-base --num-beams 5 *.jpg\n"
      "  readback caption --captioner HuggingFaceM4/idefics-9b --shots examples.jsonl photo.jpg\n"
      "  readback caption --do-sample --num-captions 10 --seed 1 --format jsonl photo.jpg > captions.jsonl");
  verb->add_option("IMAGE", flags->images, "Image files")->required();
  verb->add_option("--captioner", flags->captioner, caption::kCaptionerSpecs)->capture_default_str();
  verb->add_option("--shots", flags->shots, caption::kShotsHelp);
  add_options(*verb, flags->decoding, "Captions");
  add_options(*verb, flags->wire, kWireGroup);
  verb->add_option("--batch-size", flags->batch_size, "Images at a time")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--format", flags->format, "text or jsonl")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "jsonl"}));
  flags->machine.add_to(*verb);
  verb->callback([flags] { run(*flags); });
}

}  // namespace readback::cli
