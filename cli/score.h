// The verbs below `readback score`, one file each.
#pragma once
#include <CLI/CLI.hpp>

namespace readback::cli {

void add_score_agreement(CLI::App& score);
void add_score_captions(CLI::App& score);
void add_score_prepare(CLI::App& score);  // prepare-meteor, prepare-spice
void add_score_images(CLI::App& score);
void add_score_pairs(CLI::App& score);
void add_score_texts(CLI::App& score);
void add_score_scenes(CLI::App& score);

}  // namespace readback::cli
