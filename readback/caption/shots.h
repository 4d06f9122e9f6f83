// Examples for few-shot captioners, from a file.
#pragma once
#include <string>
#include <vector>

#include "readback/caption/captioner.h"

namespace readback::caption {

inline constexpr const char* kShotsHelp =
    "Examples that a few-shot captioner reads first: a file of JSON Lines with image, a path from there, and caption";

// What stands before the image in Request::examples: pictures, laid on white, each with its caption behind it. Empty
// for an empty path. Errors: DataError that names the line.
std::vector<Part> read_shots(const std::string& path);

// "sha256:" and 64 hex digits over pictures and captions.
std::string digest(const std::vector<Part>& examples);

// Errors: UsageError when there are examples and the captioner takes none.
void expect_examples_taken(const std::vector<Part>& examples, const Captioner& captioner);

}  // namespace readback::caption
