#include <fmt/format.h>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/wire/hub.h"

namespace readback::cli {

namespace {

struct PullFlags {
  std::string repository;
  std::vector<std::string> include;
  wire::WireOptions wire;
  bool dry_run = false;
};

void run(const PullFlags& flags) {
  const size_t at = flags.repository.find('@');
  const std::string id = flags.repository.substr(0, at);
  const std::string revision = at == std::string::npos ? "main" : flags.repository.substr(at + 1);
  const auto progress = make_progress();
  const Context context = context_with(*progress);
  const wire::Hub hub(flags.wire);
  const wire::HubRepository repository = hub.look(id, revision, context);
  const auto files = wire::files_to_pull(repository, flags.include);
  for (const wire::HubFile& file : files) fmt::print(stderr, "{:>14} {}\n", file.size, file.name);
  fmt::print(stderr, "{}\n", wire::summary(repository, files));
  if (flags.dry_run) return;
  fmt::print("{}\n", hub.pull(repository, files, context).string());
}

}  // namespace

void add_pull(CLI::App& app) {
  auto flags = std::make_shared<PullFlags>();
  CLI::App* verb =
      app.add_subcommand("pull", "A model or a data set from a hub, into the cache that huggingface_hub shares");
  verb->footer(
      "Examples:\n"
      "  readback pull Salesforce/blip-image-captioning-base\n"
      "  readback pull CompVis/stable-diffusion-v1-4@main --dry-run\n"
      "  readback pull org/model --include \"unet/*\" --include \"*.json\"\n"
      "  readback pull datasets/org/photos\n"
      "Where a model or a data set is named, hub:REPO pulls it first. HF_ENDPOINT says which hub, HF_TOKEN who asks, "
      "HF_HOME where it goes. The same command goes on where it "
      "stopped.");
  verb->add_option("REPO", flags->repository, "OWNER/NAME or datasets/OWNER/NAME, with @REVISION or without")
      ->required();
  verb->add_option("--include", flags->include, "Only files of these patterns; none: what a backend needs");
  verb->add_flag("--dry-run", flags->dry_run, "Say what would come, and its licence");
  add_options(*verb, flags->wire, {.wanted = [](const std::string& path, Scope) {
    return path == "max_retries" || path == "retry_delay" || path.ends_with("_timeout");
  }});
  verb->callback([flags] { run(*flags); });
}

}  // namespace readback::cli
