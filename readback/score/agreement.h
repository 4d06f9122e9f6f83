// How far metrics of captions agree with people.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "readback/data/caption_file.h"
#include "readback/score/statistics/correlation.h"

namespace readback::score {

// The two files of judgements of Flickr8k (Hodosh, Young and Hockenmaier, JAIR 2013), columns between tabs:
//   kFlickr8kExpert       image, caption, and three experts' scores from 1 (unrelated) to 4 (describes the image)
//   kFlickr8kCrowdFlower  image, caption, share of yes, number of yes, number of no
// and Composite's (Aditya et al., CVIU 2018), one a corpus and question, as Mechanical Turk gives results:
//   kComposite            below a header, columns between semicolons: 27 of the task, the image's address, captions (3
//                         for Flickr8k, 4 for Flickr30k and COCO), and as many ratings from 0 to 5
// Pascal-50S, which has pairs, is judged_pairs.h.
enum class JudgementLayout { kFlickr8kExpert, kFlickr8kCrowdFlower, kComposite };
JudgementLayout parse_judgement_layout(const std::string& name);  // "flickr8k-expert"; errors: UsageError

// Judged captions with their image's own ones as references.
struct Judgements {
  data::MatchedCaptions captions;        // one a judgement, those of an image together; ids are "IMAGE CAPTION"
  std::vector<std::string> image_names;  // of each judgement: the image's file name
  std::vector<double> ratings;
  std::vector<int64_t> image;  // of each judgement: 0 … images - 1
  int64_t images = 0;
  int64_t left_out = 0;  // judged captions that are their image's own
};

// The protocol of SPICE (Anderson et al., ECCV 2016) in the reading of CLIPScore (Hessel et al., EMNLP 2021), which
// published tables follow. Experts: each score is a judgement, and captions that are the image's own are left out.
// CrowdFlower: the share of yes is the judgement, and judged captions are no references of their image. Composite: the
// same, where captions are those that have the same words.
// `captions` is Flickr8k.token.txt: "IMAGE#0" to "IMAGE#4", a tab, the caption. Images are known by their names up to
// the first dot, since it has one "….jpg.1". Composite takes any file of captions (data/caption_file.h) whose ids name
// the images of its corpus. Errors: DataError that says where (file and line).
Judgements read_judgements(JudgementLayout layout, const std::filesystem::path& judgements,
                           const std::filesystem::path& captions);

// Several files as one: Composite has one a corpus.
void append(Judgements& judgements, const Judgements& more);

struct Agreement {
  Correlations correlations;  // intervals over images
  int64_t judgements = 0;
};

// A metric's values of the judged captions, higher being better, with the ratings; judgements whose value is NaN are
// left out. Errors: DataError when there is not one value a judgement.
Agreement agreement(std::span<const double> values, const Judgements& judgements, const BootstrapOptions& options = {});

}  // namespace readback::score
