// How often metrics of captions prefer what people prefer: Pascal-50S (Vedantam, Zitnick and Parikh, CVPR 2015).
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "readback/data/caption_file.h"
#include "readback/score/statistics/bootstrap.h"

namespace readback::score {

struct JudgedPair {
  std::string image, category;  // "2008_000001.jpg"; HC, HI, HM or MM
  std::array<std::string, 2> captions;
  std::array<int64_t, 2> votes{};  // of people who found this one the nearer to a reference
  std::vector<std::string> references;
};

// JSON Lines, as tools/pascal_50s.py makes them of the authors' files: {"image": "…", "captions": ["…", "…"], "votes":
// [n, m], "category": "HC", "references": ["…", …]}. Errors: DataError that says where (file and line).
std::vector<JudgedPair> read_judged_pairs(const std::filesystem::path& path);

// Both captions of each pair, one pair after the other, against `references` of its references, which `seed` draws, or
// all where there are no more. Their ids are "0 A", "0 B", "1 A", ….
data::MatchedCaptions captions_of_pairs(std::span<const JudgedPair> pairs, int64_t references, uint64_t seed);

// The share of pairs of which a metric and most people prefer the same caption. A tie, of the metric or of the votes,
// counts half, which is what breaking it by chance gives on average.
struct PairAccuracy {
  std::vector<std::pair<std::string, Interval>> categories;  // in the order of first appearance
  Interval all;                                              // over all pairs; intervals are over pairs
  int64_t undefined = 0;                                     // pairs for which the metric has no value, left out
};

// `values`: of each draw of references, a value for each of captions_of_pairs(), higher being better; accuracies are
// means over draws. Errors: DataError when there are not as many.
PairAccuracy pair_accuracy(std::span<const std::vector<double>> values, std::span<const JudgedPair> pairs,
                           const BootstrapOptions& options = {});

}  // namespace readback::score
