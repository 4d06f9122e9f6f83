#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "common.h"
#include "readback/base/machine.h"
#include "readback/wire/hub.h"
#include "readback/workflow/describe_model.h"

namespace readback::cli {

namespace {

using workflow::ModelDescription;
using workflow::ModelPart;
using workflow::ModelRole;
using workflow::ModelVocabulary;

const char* role_name(ModelRole role) {
  switch (role) {
    case ModelRole::kCaptioner:
      return "captioner";
    case ModelRole::kGenerator:
      return "generator";
    case ModelRole::kEmbedder:
      break;
  }
  return "embedder";
}

std::string flag(const std::string& option) {
  std::string name = "--" + option;
  std::ranges::replace(name, '_', '-');
  return name;
}

std::string command(const ModelDescription& model, const std::string& variant) {
  std::string name = shell_quoted(model.name);
  if (!variant.empty()) name += " --variant " + shell_quoted(variant);
  switch (model.role) {
    case ModelRole::kCaptioner:
      return "readback caption --captioner " + name + " photo.jpg";
    case ModelRole::kGenerator:
      return "readback generate --generator " + name + " --prompt \"a red boat\" --output pictures";
    case ModelRole::kEmbedder:
      break;
  }
  if (model.option == "clip")
    return "readback embed --model " + name + " --images photo.jpg --output vectors.safetensors";
  return "readback run … " + flag(model.option) + " " + name;
}

std::string counted(int64_t parameters) {
  const auto count = static_cast<double>(parameters);
  return parameters >= 1'000'000'000 ? fmt::format("{:.2f} billion", count / 1e9)
                                     : fmt::format("{:.2f} million", count / 1e6);
}

std::string size_of(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.1f} GB", bytes / 1e9);
  return bytes >= 1e6 ? fmt::format("{:.1f} MB", bytes / 1e6) : fmt::format("{:.0f} kB", bytes / 1e3);
}

void print_json(const ModelDescription& model, const std::string& variant) {
  const auto parameters = static_cast<double>(model.parameters());
  nlohmann::ordered_json json = {{"name", model.name},
                                 {"path", model.path},
                                 {"role", role_name(model.role)},
                                 {"class", model.class_name},
                                 {"title", model.title},
                                 {"adapter_of", model.adapter_of},
                                 {"single_file", model.is_single_file},
                                 {"licence", model.licence},
                                 {"parameters", model.parameters()},
                                 {"bytes", model.bytes()},
                                 {"memory", {{"float32", 4 * parameters}, {"bfloat16", 2 * parameters}}},
                                 {"parts", nlohmann::ordered_json::array()},
                                 {"vocabularies", nlohmann::ordered_json::array()},
                                 {"picture", {{"height", model.picture_height}, {"width", model.picture_width}}},
                                 {"tiles", model.cuts_tiles},
                                 {"defaults", model.defaults},
                                 {"defaults_rule", model.defaults_rule},
                                 {"can", model.can},
                                 {"lacks", model.lacks},
                                 {"max_prompt_tokens", model.max_prompt_tokens},
                                 {"tunable", model.can_be_tuned},
                                 {"command", command(model, variant)}};
  for (const ModelPart& part : model.parts) {
    json["parts"].push_back({{"folder", part.folder},
                             {"class", part.class_name},
                             {"parameters", part.parameters},
                             {"bytes", part.bytes},
                             {"types", part.types}});
  }
  for (const ModelVocabulary& vocabulary : model.vocabularies) {
    json["vocabularies"].push_back(
        {{"folder", vocabulary.folder}, {"class", vocabulary.class_name}, {"tokens", vocabulary.tokens}});
  }
  fmt::print("{}\n", json.dump(2));
}

void line(const char* what, const std::string& text) {
  if (!text.empty()) fmt::print("{:<10}{}\n", what, text);
}

void print(const ModelDescription& model, const std::string& variant) {
  fmt::print("{}\n", model.title);
  const std::string of = model.adapter_of.empty() ? "" : ", an adapter of " + model.adapter_of;
  line("is", fmt::format("a{} {} ({}){}", model.role == ModelRole::kEmbedder ? "n" : "", role_name(model.role),
                         model.class_name, of));
  line("licence", model.licence);
  for (const ModelPart& part : model.parts) {
    line("part", fmt::format("{}{}, {} parameters, {}, {}", part.folder.empty() ? "" : part.folder + ": ",
                             part.class_name, counted(part.parameters), size_of(static_cast<double>(part.bytes)),
                             fmt::join(part.types, " and ")));
  }
  for (const ModelVocabulary& vocabulary : model.vocabularies) {
    line("tokens", fmt::format("{}{}{}", vocabulary.folder.empty() ? "" : vocabulary.folder + ": ", vocabulary.tokens,
                               vocabulary.class_name.empty() ? "" : ", " + vocabulary.class_name));
  }
  const auto parameters = static_cast<double>(model.parameters());
  line("memory",
       fmt::format("{} of weights in float32, {} in bfloat16", size_of(4 * parameters), size_of(2 * parameters)));
  if (model.picture_height > 0) {
    line("pictures", fmt::format("{} × {} pixels{}", model.picture_width, model.picture_height,
                                 model.cuts_tiles                      ? ", tiles of larger ones"
                                 : model.role == ModelRole::kGenerator ? ""
                                                                       : ", others are brought to that"));
  }
  std::string defaults;
  for (const auto& [name, value] : model.defaults.items()) {
    if (value.is_string() && value.get_ref<const std::string&>().empty()) continue;
    if (value.is_boolean() && !value.get<bool>()) continue;
    defaults += (defaults.empty() ? "" : " ") + flag(name) +
                (value.is_boolean() ? "" : " " + (value.is_string() ? shell_quoted(value) : value.dump()));
  }
  line("defaults", defaults);
  line("", model.defaults_rule);
  for (const std::string& can : model.can) line("can", can);
  if (model.role != ModelRole::kEmbedder) {
    line("can", model.can_be_tuned ? "be tuned (readback finetune)" : "not be tuned");
    if (model.max_prompt_tokens > 0)
      line("", fmt::format("read {} tokens of a prompt at most", model.max_prompt_tokens));
  }
  std::string lacks;
  for (const std::string& option : model.lacks) lacks += (lacks.empty() ? "" : " ") + flag(option);
  line("lacks", lacks);
  line("use it", command(model, variant));
}

}  // namespace

void add_describe(CLI::App& app) {
  struct Flags {
    std::string name, variant;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("describe", "Say what a model is, from its configurations and headers alone");
  verb->footer(
      "Examples:\n"
      "  readback describe emoji-scenes/generator\n"
      "  readback describe HuggingFaceM4/idefics-9b\n"
      "  readback describe dreamlike.safetensors@stable-diffusion-v1-5/stable-diffusion-v1-5 --json");
  verb->add_option("REPOSITORY", flags->name,
                   "A folder, a hub id in the cache, hub:REPO, an adapter or a file of weights")
      ->required();
  verb->add_option("--variant", flags->variant, "Weights of this variant (such as fp16)");
  verb->add_flag("--json", flags->json, "For machines");
  verb->callback([flags] {
    const auto progress = make_progress();
    const std::string name = wire::pulled(flags->name, {}, context_with(*progress));
    const ModelDescription model = workflow::describe_model(name, flags->variant);
    if (flags->json) {
      print_json(model, flags->variant);
    } else {
      print(model, flags->variant);
    }
  });
}

}  // namespace readback::cli
