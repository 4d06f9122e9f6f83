#include "readback/workflow/describe_model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/lines.h"
#include "readback/base/options_json.h"
#include "readback/caption/open.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/generate/open.h"
#include "readback/generate/stable_diffusion_index.h"
#include "readback/image/preprocess.h"
#include "readback/image/tiles.h"
#include "readback/score/open_embedder.h"
#include "readback/text/tokenizer.h"
#include "readback/train/trained_parameters.h"

namespace readback::workflow {

namespace {

using checkpoint::Repository;

std::string type_name(c10::ScalarType type) {
  const std::map<c10::ScalarType, std::string> names = {
      {at::kFloat, "float32"}, {at::kBFloat16, "bfloat16"}, {at::kHalf, "float16"}, {at::kLong, "int64"}};
  const auto found = names.find(type);
  return found == names.end() ? c10::toString(type) : found->second;
}

ModelPart part_of(const Repository& repository, const std::string& folder, const std::string& class_name) {
  ModelPart part{.folder = folder, .class_name = class_name};
  std::set<std::string> types;
  for (const auto& [key, tensor] : repository.tensors(folder)) {
    part.parameters += tensor.numel();
    part.bytes += static_cast<int64_t>(tensor.nbytes());
    types.insert(type_name(tensor.scalar_type()));
  }
  part.types.assign(types.begin(), types.end());
  return part;
}

std::string class_of_tokenizer(const Repository& repository) {
  const std::string file = "tokenizer_config.json";
  return repository.has(file) ? repository.json(file).value("tokenizer_class", "") : "";
}

// Of what the model itself loads, by the same loaders.
std::unique_ptr<text::Tokenizer> tokenizer_of(const Repository& repository, const std::string& model_type) {
  if (model_type == "clip") return text::load_clip_tokenizer(repository.vocabulary());
  if (model_type == "blip" || model_type == "bert") return text::load_bert_tokenizer(repository.vocabulary());
  return text::load_tokenizer(repository.vocabulary());
}

// What a pipeline is made of: folder and class, by model_index.json.
std::vector<std::pair<std::string, std::string>> members(const Repository& repository) {
  std::vector<std::pair<std::string, std::string>> members;
  const nlohmann::json index = repository.json("model_index.json");
  for (const auto& [folder, entry] : index.items()) {
    if (entry.is_array() && entry.size() == 2 && entry[1].is_string()) members.emplace_back(folder, entry[1]);
  }
  return members;
}

bool is_tokenizer(const std::string& class_name) { return class_name.find("Tokenizer") != std::string::npos; }

bool is_pipeline(const Repository& repository) { return repository.has("model_index.json"); }

std::vector<ModelVocabulary> vocabularies_of(const Repository& repository, const std::string& model_type) {
  std::vector<ModelVocabulary> vocabularies;
  if (is_pipeline(repository)) {
    for (const auto& [folder, class_name] : members(repository)) {
      if (!is_tokenizer(class_name)) continue;
      const auto tokenizer = text::load_clip_tokenizer(repository.vocabulary(folder));
      vocabularies.push_back({folder, class_name, tokenizer->vocabulary_size()});
    }
  } else if (model_type != "vit") {
    vocabularies.push_back(
        {"", class_of_tokenizer(repository), tokenizer_of(repository, model_type)->vocabulary_size()});
  }
  return vocabularies;
}

std::string class_of(const Repository& repository) {
  const checkpoint::Architecture architecture = checkpoint::architecture(repository);
  return architecture.class_name.empty() ? architecture.model_type : architecture.class_name;
}

// "license" of the front matter of a README.md, without quotation marks.
std::string licence_of(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(folder / "README.md", error)) return "";
  const std::string readme = read_file(folder / "README.md");
  std::map<std::string, std::string> front;
  if (!readme.starts_with("---")) return "";
  size_t begin = readme.find('\n');
  while (begin != std::string::npos) {
    const size_t end = readme.find('\n', begin + 1);
    std::string line = readme.substr(begin + 1, end == std::string::npos ? end : end - begin - 1);
    begin = end;
    if (line.starts_with("---")) break;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string value = line.substr(colon + 1);
    std::erase_if(value, [](char c) { return c == '"' || c == '\'' || c == '\r'; });
    value.erase(0, std::min(value.find_first_not_of(' '), value.size()));
    front[line.substr(0, colon)] = value;
  }
  const std::string licence = front["license"];
  return licence == "other" && !front["license_name"].empty() ? front["license_name"] : licence;
}

// The options that have a value, and the names of those that have none.
template <typename Options>
void describe_options(const Options& defaults, ModelDescription& description) {
  const nlohmann::json values = options_to_json(defaults, [](Scope scope) { return scope != Scope::kCall; });
  for (const auto& [name, value] : values.items()) {
    if (value.is_null()) {
      description.lacks.push_back(name);
    } else {
      description.defaults[name] = value;
    }
  }
}

void add_capability(ModelDescription& description, bool has, const char* text) {
  if (has) description.can.emplace_back(text);
}

void describe_captioner(const Repository& repository, const caption::Captioner& captioner,
                        ModelDescription& description) {
  const caption::DecodingOptions own = captioner.defaults();
  describe_options(caption::resolve({}, own), description);
  describe_options(own, description);  // and what holds when sampling
  description.lacks.clear();           // the other ways to say how long
  const caption::Capabilities can = captioner.capabilities();
  add_capability(description, can.honours_seeds, "equal seeds give equal captions");
  add_capability(description, can.log_probabilities, "says how probable its captions are");
  add_capability(description, can.text_probabilities, "says how probable any text is");
  add_capability(description, can.answers, "says how probable an answer is");
  add_capability(description, can.examples, "learns from examples before the picture (shots)");
  if (!can.examples) description.lacks.emplace_back("shots");
  description.max_prompt_tokens = can.max_prompt_tokens;
  description.can_be_tuned = train::is_tunable(description.class_name);
  const bool tiles = description.title.starts_with("SmolVLM");
  if (tiles) {
    description.cuts_tiles = true;
    description.picture_height = description.picture_width = image::read_tile_options(repository).tile;
  }
}

void describe_generator(const generate::Generator& generator, ModelDescription& description) {
  const generate::GenerationOptions own = generator.defaults();
  describe_options(own, description);
  description.defaults_rule = generator.defaults_rule();
  const generate::Capabilities can = generator.capabilities();
  add_capability(description, can.honours_seeds, "equal seeds give equal pictures");
  add_capability(description, can.denoising_errors, "says how well a text explains a picture (denoising error)");
  add_capability(description, can.latents, "takes and gives latents");
  add_capability(description, can.variations, "draws pictures anew without words (generate --picture, run --ceiling)");
  const auto kind = std::ranges::find_if(generate::kStableDiffusionKinds, [&](const auto& one) {
    return description.class_name == one.pipeline && !one.is_told_guidance;
  });
  if (kind == std::end(generate::kStableDiffusionKinds)) {
    description.lacks.emplace_back("negative_prompt");
    description.defaults.erase("negative_prompt");
  }
  description.max_prompt_tokens = can.max_prompt_tokens;
  description.picture_height = own.height.value_or(0);
  description.picture_width = own.width.value_or(0);
  description.can_be_tuned = std::ranges::any_of(
      generate::kStableDiffusionKinds,
      [&](const generate::StableDiffusionKind& kind) { return kind.pipeline == description.class_name; });
}

struct Embedder {
  score::EmbedderRole role;
  const char *model_type, *option, *label;
};
constexpr Embedder kEmbedders[] = {{score::EmbedderRole::kClip, "clip", "clip", "CLIP"},
                                   {score::EmbedderRole::kDino, "vit", "dino", "DINO"},
                                   {score::EmbedderRole::kSbert, "bert", "sbert", "Sentence encoder"}};

}  // namespace

std::vector<ModelPart> parts_of(const Repository& repository) {
  if (!is_pipeline(repository)) return {part_of(repository, "", class_of(repository))};
  std::vector<ModelPart> parts;
  for (const auto& [folder, class_name] : members(repository)) {
    const bool has_weights = !is_tokenizer(class_name) && repository.has(folder + "/config.json");
    if (has_weights) parts.push_back(part_of(repository, folder, class_name));
  }
  return parts;
}

int64_t ModelDescription::parameters() const {
  int64_t sum = 0;
  for (const ModelPart& part : parts) sum += part.parameters;
  return sum;
}

int64_t ModelDescription::bytes() const {
  int64_t sum = 0;
  for (const ModelPart& part : parts) sum += part.bytes;
  return sum;
}

ModelDescription describe_model(const std::string& name, const std::string& variant) {
  const Machine headers{.device = c10::kMeta, .dtype = at::kFloat, .variant = variant};
  const Repository repository(name, variant, Repository::Contents::kHeaders);
  const checkpoint::Architecture architecture = checkpoint::architecture(repository);
  ModelDescription description{.name = name,
                               .path = repository.path().string(),
                               .class_name = class_of(repository),
                               .adapter_of = repository.is_adapter() ? repository.adapter()->base : "",
                               .is_single_file = repository.is_single_file(),
                               .licence = licence_of(repository.path())};
  // "BLIP NAME, float32" without the type, which is this call's.
  const auto titled = [](const std::string& text) { return text.substr(0, text.rfind(", ")); };
  std::optional<checkpoint::UnknownModel> refused;
  const auto opened = [&](const auto& open) -> decltype(open()) {
    try {
      return open();
    } catch (const checkpoint::UnknownModel& error) {
      refused = error;
      return nullptr;
    }
  };
  if (const auto captioner = opened([&] { return caption::open(name, headers); })) {
    description.role = ModelRole::kCaptioner;
    description.title = titled(captioner->description());
    describe_captioner(repository, *captioner, description);
  } else if (const auto generator = opened([&] { return generate::open(name, headers); })) {
    description.role = ModelRole::kGenerator;
    description.title = titled(generator->description());
    describe_generator(*generator, description);
  } else {
    const auto embedder =
        std::ranges::find(kEmbedders, architecture.model_type, [](const Embedder& one) { return one.model_type; });
    if (embedder == std::end(kEmbedders)) throw *refused;
    score::open_embedder(embedder->role, name, headers);
    description.role = ModelRole::kEmbedder;
    description.title = std::string(embedder->label) + " " + repository.title();
    description.option = embedder->option;
  }
  description.parts = parts_of(repository);
  description.vocabularies = vocabularies_of(repository, architecture.model_type);
  const bool reads =
      description.role == ModelRole::kCaptioner || description.option == "clip" || description.option == "dino";
  if (reads && !description.cuts_tiles) {
    const image::PreprocessOptions read = image::read_preprocess_options(repository);
    description.picture_height = read.do_center_crop ? read.crop_height : read.shortest_edge.value_or(read.height);
    description.picture_width = read.do_center_crop ? read.crop_width : read.shortest_edge.value_or(read.width);
  }
  return description;
}

}  // namespace readback::workflow
