#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models.h"
#include "readback/base/error.h"
#include "readback/base/stopwatch.h"
#include "readback/image/codec.h"

namespace readback::cli {

namespace {

struct CaptionFlags {
  Machine machine;
  caption::DecodingOptions decoding;
  std::string captioner = "emoji-scenes/captioner", format = "text";
  std::vector<std::string> images;
  int64_t batch_size = 8;
};

void print(const std::string& image, const std::vector<caption::Caption>& captions, double seconds,
           const std::string& format) {
  if (format == "jsonl") {
    nlohmann::ordered_json line = {{"image", image}, {"captions", nlohmann::ordered_json::array()}};
    for (const caption::Caption& caption : captions) {
      line["captions"].push_back(
          {{"text", caption.text}, {"token_ids", caption.token_ids}, {"log_probability", caption.log_probability}});
    }
    line["seconds"] = seconds;
    fmt::print("{}\n", line.dump());
    return;
  }
  for (const caption::Caption& caption : captions) fmt::print("{}\t{}\n", image, caption.text);
}

void run(CaptionFlags& flags) {
  flags.machine.apply_threads();
  const auto captioner = load_captioner(flags.captioner, flags.machine);
  const auto progress = make_progress();
  const auto total = static_cast<int64_t>(flags.images.size());
  progress->begin("caption", total);
  int64_t failed = 0;
  for (int64_t begin = 0; begin < total; begin += flags.batch_size) {
    check_interrupt();
    std::vector<caption::Request> requests;
    for (int64_t i = begin; i < std::min(begin + flags.batch_size, total); ++i) {
      const std::string& path = flags.images[static_cast<size_t>(i)];
      try {
        requests.push_back({image::load(path, image::Alpha::kOnWhite), path, 0});
      } catch (const DataError& error) {
        ++failed;
        progress->note(error.what());
        if (flags.format == "jsonl")
          fmt::print("{}\n", nlohmann::ordered_json{{"image", path}, {"error", error.what()}}.dump());
      }
    }
    if (!requests.empty()) {
      const Stopwatch clock;
      const auto captions = captioner->caption(requests, flags.decoding);
      const double seconds = clock.seconds() / static_cast<double>(requests.size());
      for (size_t i = 0; i < requests.size(); ++i) print(requests[i].sample, captions[i], seconds, flags.format);
    }
    progress->advance(std::min(flags.batch_size, total - begin));
  }
  progress->end();
  if (failed > 0) throw DataError(fmt::format("{} of {} images could not be read", failed, total));
}

}  // namespace

void add_caption(CLI::App& app) {
  auto flags = std::make_shared<CaptionFlags>();
  CLI::App* verb = app.add_subcommand("caption", "Say what images show");
  verb->footer(
      "Examples:\n"
      "  readback caption photo.jpg\n"
      "  readback caption --captioner Salesforce/blip-image-captioning-base --num-beams 5 *.jpg\n"
      "  readback caption --do-sample --num-captions 10 --seed 1 --format jsonl photo.jpg > captions.jsonl");
  verb->add_option("IMAGE", flags->images, "Image files")->required();
  verb->add_option("--captioner", flags->captioner, "Repository: a folder, or a hub id in the cache")
      ->capture_default_str();
  add_decoding_flags(*verb, flags->decoding);
  verb->add_flag("--do-sample", flags->decoding.do_sample, "Sample instead of searching with beams")->group("Captions");
  verb->add_option("--num-captions", flags->decoding.num_captions, "Candidates an image")
      ->capture_default_str()
      ->group("Captions")
      ->check(CLI::PositiveNumber);
  verb->add_option("--seed", flags->decoding.seed)->capture_default_str()->group("Captions");
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
