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
enum class JudgementLayout { kFlickr8kExpert, kFlickr8kCrowdFlower };
JudgementLayout parse_judgement_layout(const std::string& name);  // "flickr8k-expert"; errors: UsageError

// Judged captions with their image's own ones as references.
struct Judgements {
  data::MatchedCaptions captions;  // one a judgement, those of an image together; ids are "IMAGE CAPTION"
  std::vector<double> ratings;
  std::vector<int64_t> image;  // of each judgement: 0 … images - 1
  int64_t images = 0;
  int64_t left_out = 0;  // judged captions that are their image's own
};

// The protocol of SPICE (Anderson et al., ECCV 2016) in the reading of CLIPScore (Hessel et al., EMNLP 2021), which
// published tables follow. Experts: each score is a judgement, and captions that are the image's own are left out.
// CrowdFlower: the share of yes is the judgement, and judged captions are no references of their image.
// `captions` is Flickr8k.token.txt: "IMAGE#0" to "IMAGE#4", a tab, the caption. Images are known by their names up to
// the first dot, since it has one "….jpg.1". Errors: DataError that says where (file and line).
Judgements read_judgements(JudgementLayout layout, const std::filesystem::path& judgements,
                           const std::filesystem::path& captions);

struct Agreement {
  Correlations correlations;  // intervals over images
  int64_t judgements = 0;
};

// A metric's values of the judged captions, higher being better, with the ratings; judgements whose value is NaN are
// left out. Errors: DataError when there is not one value a judgement.
Agreement agreement(std::span<const double> values, const Judgements& judgements, const BootstrapOptions& options = {});

}  // namespace readback::score
