// Scores captions against references as the COCO caption evaluation does: score_captions CANDIDATES REFERENCES
// Both are files that data/caption_file.h reads: COCO's JSON, JSON Lines, or a caption a line.
#include <readback/base/error.h>
#include <readback/data/caption_file.h>
#include <readback/score/text/caption_scores.h>

#include <cstdio>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: score_captions CANDIDATES REFERENCES\n";
    return 2;
  }
  const auto captions = readback::data::match_captions(readback::data::read_caption_file(argv[1]),
                                                       readback::data::read_caption_file(argv[2]), false);
  const auto scores = readback::score::score_captions(captions, {.metrics = {"bleu", "rouge", "cider"}});
  for (const auto& group : scores.groups) {
    const auto intervals = readback::score::bootstrap(group.aggregate);
    for (size_t i = 0; i < intervals.size(); ++i) {
      std::printf("%s\t%.4f\t%.4f to %.4f\n", group.scores[i].title.c_str(), intervals[i].mean, intervals[i].low,
                  intervals[i].high);
    }
  }
  return 0;
} catch (const readback::Error& error) {
  std::cerr << "score_captions: " << error.what() << "\n";
  return 1;
}
