// What a repository, an adapter or a model in one file is, from its configurations and the headers of its weights:
// nothing large is read.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/checkpoint/repository.h"

namespace readback::workflow {

enum class ModelRole { kCaptioner, kGenerator, kEmbedder };

struct ModelPart {
  std::string folder, class_name;     // folder: empty where the repository is one model
  int64_t parameters = 0, bytes = 0;  // bytes: of the weights as they are stored
  std::vector<std::string> types;     // that they are stored in: "float32"
};

struct ModelVocabulary {
  std::string folder, class_name;
  int64_t tokens = 0;
};

struct ModelDescription {
  std::string name, path;  // as it was named; the folder of its configurations
  ModelRole role;
  std::string class_name;  // "BlipForConditionalGeneration"
  std::string title;       // "BLIP emoji-scenes/captioner"
  std::string option;      // of an embedder: what it is given as, "clip"
  std::string adapter_of;  // of an adapter: its base
  bool is_single_file = false;
  std::string licence;  // as the README's front matter says; empty: it does not

  std::vector<ModelPart> parts;
  std::vector<ModelVocabulary> vocabularies;
  int64_t picture_height = 0, picture_width = 0;  // that are read or drawn; of tiles, one's
  bool cuts_tiles = false;

  nlohmann::json defaults;         // options by name, those that the model has
  std::string defaults_rule;       // by which rule, where there is something to say
  std::vector<std::string> can;    // "equal seeds give equal pictures"
  std::vector<std::string> lacks;  // options that it refuses
  int64_t max_prompt_tokens = 0;   // 0: no limit that is known
  bool can_be_tuned = false;

  int64_t parameters() const;
  int64_t bytes() const;
};

// What a repository is made of, by its configurations and the headers of its weights. Errors: CheckpointError.
std::vector<ModelPart> parts_of(const checkpoint::Repository& repository);

// `variant`: of the weights (checkpoint/repository.h). Everything is asked of the class that would be at work, which is
// made without its numbers. Errors: CheckpointError where it would not open either, which says what it is.
ModelDescription describe_model(const std::string& name, const std::string& variant = "");

}  // namespace readback::workflow
