#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "readback/base/error.h"
#include "readback/score/image/frechet.h"
#include "readback/score/image/image_files.h"
#include "readback/score/image/inception_extractor.h"
#include "readback/score/image/inception_score.h"
#include "readback/score/image/kernel_distance.h"
#include "readback/score/statistics/significance.h"
#include "score.h"
#include "score_pairwise.h"

namespace readback::cli {

namespace {

namespace fs = std::filesystem;
using models::InceptionLayer;

struct ImagesFlags : ScoreFlags {
  std::string generated, real, mode = "torch-fidelity", save_statistics;
  int64_t kid_subsets = 100, kid_subset_size = 0, isc_splits = 0;  // 0: 1,000 and 10, or what fewer images allow
  uint32_t rng_seed = 2020;
};

const std::vector<ShortName> kNames = {
    {"fid", {}},
    {"is", {}},
    {"kid", {}},
    {"clip", {{"CLIP", "clip-image"}, {"CLIP-pooled", "clip-image-pooled"}}},
    {"dino", {{"DINO", "dino-image"}}},
    {"psnr", {{"PSNR", "psnr"}}},
    {"ssim", {{"SSIM", "ssim"}}},
};

bool is_set_metric(const std::string& name) { return name == "fid" || name == "is" || name == "kid"; }

// Where there are fewer images than the usual number asks for, what they allow; said, since it changes the value.
int64_t at_most(int64_t given, int64_t usual, int64_t images, const char* what) {
  if (given > 0) return given;
  if (images < usual) fmt::print(stderr, "{}: {} instead of {}, since there are no more images\n", what, images, usual);
  return std::min(usual, images);
}

class SetScores {
 public:
  SetScores(const ImagesFlags& flags, const std::vector<std::string>& names, const Context& context)
      : flags_(flags),
        names_(names),
        context_(context),
        extractor_(flags.checkpoints.inception, flags.machine.open().device,
                   {.mode = score::inception_mode(flags.mode), .batch_size = flags.batch_size, .layers = layers()}),
        by_inception_(fmt::format("Inception-v3 of {}, {} resizing",
                                  fs::path(flags.checkpoints.inception).filename().string(), flags.mode)) {}

  void add_to(ScoreTable& table) {
    const bool from_file = fs::is_regular_file(flags_.real);
    if (from_file && wants("kid")) {
      throw UsageError(describe("kid", "--real as a folder of images", flags_.real, "Statistics suffice for fid only"));
    }
    models::InceptionFeatures generated, real;
    if (!flags_.generated.empty()) generated = extract(flags_.generated);
    if (!from_file && !flags_.real.empty() && (wants("fid") || wants("kid") || !flags_.save_statistics.empty())) {
      real = extract(flags_.real);
    }
    score::GaussianStatistics of_real;
    if (wants("fid") || !flags_.save_statistics.empty()) {
      of_real = from_file ? score::load_statistics(flags_.real)
                          : score::gaussian_statistics(real.at(InceptionLayer::k2048), extractor_.source());
    }
    if (!flags_.save_statistics.empty()) score::save_statistics(of_real, flags_.save_statistics);
    for (const std::string& name : names_) {
      if (name == "fid") table.lines.push_back(fid(generated.at(InceptionLayer::k2048), of_real));
      if (name == "is") table.lines.push_back(inception_score(generated.at(InceptionLayer::kLogitsUnbiased)));
      if (name == "kid") {
        table.lines.push_back(kid(generated.at(InceptionLayer::k2048), real.at(InceptionLayer::k2048)));
      }
    }
  }

 private:
  bool wants(const char* name) const { return std::ranges::find(names_, name) != names_.end(); }

  std::set<InceptionLayer> layers() const {
    std::set<InceptionLayer> layers;
    if (wants("fid") || wants("kid") || !flags_.save_statistics.empty()) layers.insert(InceptionLayer::k2048);
    if (wants("is")) layers.insert(InceptionLayer::kLogitsUnbiased);
    return layers;
  }

  models::InceptionFeatures extract(const std::string& folder) {
    const std::vector<fs::path> files = score::list_images(folder);
    context_.progress().begin("Inception, " + folder, static_cast<int64_t>(files.size()));
    models::InceptionFeatures features = extractor_.extract(files, context_);
    context_.progress().end();
    return features;
  }

  ScoreLine line(const std::string& title, const char* better, double value, int64_t images) const {
    ScoreLine line;
    line.title = title;
    line.value.mean = value;
    line.value.count = images;
    line.more = {{"variant", flags_.mode}, {"better", better}, {"checkpoint", flags_.checkpoints.inception}};
    return line;
  }

  ScoreLine fid(const at::Tensor& generated, const score::GaussianStatistics& real) const {
    const score::GaussianStatistics statistics = score::gaussian_statistics(generated, extractor_.source());
    ScoreLine result = line("FID", "lower", score::frechet_distance(statistics, real), statistics.n);
    result.formula = fmt::format("Fréchet distance of {} generated and {} real images' 2048 features in fp64; {}",
                                 with_commas(statistics.n), with_commas(real.n), by_inception_);
    const std::string warning = score::few_samples_warning(std::min(statistics.n, real.n));
    if (!warning.empty()) {
      fmt::print(stderr, "{}\n", warning);
      result.more["warning"] = warning;
    }
    return result;
  }

  ScoreLine inception_score(const at::Tensor& logits) const {
    score::InceptionScoreOptions options;
    options.splits = at_most(flags_.isc_splits, 10, logits.size(0), "Splits of the Inception Score");
    options.seed = flags_.rng_seed;
    const score::InceptionScore score = score::inception_score(logits, options);
    ScoreLine result = line("IS", "higher", score.mean, logits.size(0));
    result.formula = fmt::format(
        "exp of the mean KL(p(y|x) ‖ p(y)) of the generated images, {} splits, seed {}; ± {:.4f} between splits; {}",
        options.splits, options.seed, score.deviation, by_inception_);
    result.more["deviation"] = score.deviation;
    return result;
  }

  ScoreLine kid(const at::Tensor& generated, const at::Tensor& real) const {
    score::KernelDistanceOptions options;
    options.subsets = flags_.kid_subsets;
    options.subset_size =
        at_most(flags_.kid_subset_size, 1000, std::min(generated.size(0), real.size(0)), "Images in a subset of KID");
    options.seed = flags_.rng_seed;
    const score::KernelDistance distance = score::kernel_distance(generated, real, options);
    ScoreLine result = line("KID", "lower", distance.mean, generated.size(0));
    result.formula = fmt::format(
        "unbiased squared MMD under (xᵀy / 2048 + 1)³, {} subsets of {}, seed {}; ± {:.6f} between subsets; {}",
        options.subsets, options.subset_size, options.seed, distance.deviation, by_inception_);
    result.more["deviation"] = distance.deviation;
    return result;
  }

  const ImagesFlags& flags_;
  const std::vector<std::string>& names_;  // of sets only
  const Context& context_;
  score::InceptionExtractor extractor_;
  std::string by_inception_;
};

std::vector<score::PairScores> score_pairs(const ChosenMetrics& chosen, const score::MatchedImages& pairs,
                                           const ImagesFlags& flags, const Context& context) {
  const auto count = static_cast<int64_t>(pairs.ids.size());
  const std::vector<int64_t> partners = score::random_partners(count, flags.seed);
  const auto make_batch = [&](int64_t first, int64_t last) {
    std::vector<fs::path> paths;
    for (int64_t i = first; i < last; ++i) {
      paths.insert(paths.end(), {pairs.generated[i], pairs.real[i], pairs.real[partners[i]]});
    }
    score::PairBatch batch;
    batch.images = score::load_images(paths);
    for (size_t place = 0; place < batch.images.size(); place += 3) {
      score::Comparison comparison;
      comparison.candidate_image = batch.images[place].get();
      comparison.original_image = batch.images[place + 1].get();
      batch.own.push_back({comparison});
      comparison.original_image = batch.images[place + 2].get();
      if (count > 1) batch.random.push_back(comparison);
    }
    return batch;
  };
  return score::score_pairwise(chosen.metrics, count, flags.batch_size, make_batch, context);
}

std::vector<std::string> metric_names(const ImagesFlags& flags) {
  if (!flags.metrics.empty() || flags.generated.empty()) return flags.metrics;
  const bool from_file = fs::is_regular_file(flags.real);
  std::vector<std::string> names;
  if (!flags.checkpoints.inception.empty()) names = {"fid", "is"};
  if (!flags.checkpoints.inception.empty() && !from_file) names.emplace_back("kid");
  if (!from_file) {
    for (const std::string& name : available(kNames, score::given(flags.checkpoints))) names.push_back(name);
  }
  return names;
}

void check(const ImagesFlags& flags, const std::vector<std::string>& of_sets,
           const std::vector<std::string>& of_pairs) {
  const std::string where = "readback score images";
  if (flags.generated.empty() && flags.save_statistics.empty()) {
    throw UsageError(describe(where, "--generated, or --save-statistics for --real", "neither"));
  }
  if (flags.generated.empty() && !flags.metrics.empty()) {
    throw UsageError(describe("--metrics", "--generated with the images to score", "none"));
  }
  if ((!of_sets.empty() || !flags.save_statistics.empty()) && flags.checkpoints.inception.empty()) {
    const std::string what = of_sets.empty() ? "--save-statistics" : of_sets.front();
    throw UsageError(describe(what, "a checkpoint to measure with", "none", "Give one with --inception"));
  }
  const bool only_is = of_pairs.empty() && of_sets == std::vector<std::string>{"is"};
  if (flags.real.empty() && (!only_is || !flags.save_statistics.empty())) {
    throw UsageError(describe(where, "--real with what the generated images are compared to", "none"));
  }
  if (!of_pairs.empty() && fs::is_regular_file(flags.real)) {
    throw UsageError(
        describe(of_pairs.front(), "--real as a folder of images", flags.real, "Statistics suffice for fid only"));
  }
}

void score_images(const ImagesFlags& flags) {
  const Machine machine = flags.machine.open();
  std::vector<std::string> of_sets, of_pairs;
  for (const std::string& name : metric_names(flags)) (is_set_metric(name) ? of_sets : of_pairs).push_back(name);
  check(flags, of_sets, of_pairs);

  const score::MetricContext checkpoints = flags.open_checkpoints(machine);
  const ChosenMetrics chosen = choose_metrics(kNames, of_pairs, checkpoints);
  score::MatchedImages pairs;
  if (!of_pairs.empty()) pairs = score::match_images(flags.generated, flags.real, flags.allow_missing);

  const auto progress = make_progress();
  const Context context = context_with(*progress);
  ScoreTable table;
  table.left_out = left_out(pairs);
  if (!of_sets.empty() || !flags.save_statistics.empty()) SetScores(flags, of_sets, context).add_to(table);
  std::vector<SampleColumn> columns;
  std::vector<score::PairScores> scores;
  if (!of_pairs.empty()) scores = score_pairs(chosen, pairs, flags, context);
  add_lines(chosen, scores, table, columns);
  if (!flags.per_sample.empty()) write_samples(flags.per_sample, pairs.ids, columns);
  if (flags.generated.empty()) {
    fmt::print("{}\n", flags.save_statistics);
    return;
  }
  table.what = fmt::format("{} images", with_commas(static_cast<int64_t>(score::list_images(flags.generated).size())));
  if (!of_pairs.empty()) table.what += fmt::format(", {} pairs", with_commas(static_cast<int64_t>(pairs.ids.size())));
  print_scores(table, flags.format);
}

}  // namespace

void add_score_images(CLI::App& score) {
  auto flags = std::make_shared<ImagesFlags>();
  CLI::App* verb = score.add_subcommand(
      "images",
      "Generated images against real ones: FID, IS, KID as sets; CLIP, DINO, PSNR, SSIM in pairs by file name");
  verb->footer(
      "Examples:\n"
      "  readback score images --generated made/ --real photos/ --metrics fid,kid --inception weights-inception.pth\n"
      "  readback score images --generated made/ --real photos/ --metrics clip,dino,psnr,ssim \\\n"
      "      --clip openai/clip-vit-base-patch32 --dino facebook/dino-vitb8 --dino-size 384 --per-sample scores.jsonl\n"
      "  readback score images --real photos/ --save-statistics photos.safetensors --inception weights-inception.pth\n"
      "  readback score images --generated made/ --real photos.safetensors --inception weights-inception.pth");
  verb->add_option("--generated", flags->generated, "Folder of images");
  verb->add_option("--real", flags->real, "Folder of images, or for fid a file that --save-statistics wrote");
  verb->add_option("--save-statistics", flags->save_statistics,
                   "File for the mean and covariance of --real's features");
  flags->add_checkpoints(*verb, {"inception", "clip", "dino", "dino_size"});
  const char* group = "FID, IS and KID";
  verb->add_option("--inception-mode", flags->mode,
                   "Resizing before Inception: torch-fidelity (bilinear of TensorFlow 1), clean-fid (Pillow's bicubic) "
                   "or paper (bicubic to 384 pixels, then as torch-fidelity)")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::IsMember({"torch-fidelity", "clean-fid", "paper"}));
  verb->add_option("--kid-subsets", flags->kid_subsets, "Subsets that KID is averaged over")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::PositiveNumber);
  verb->add_option("--kid-subset-size", flags->kid_subset_size,
                   "Images in a subset; 0: 1,000, or all where there are fewer")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--isc-splits", flags->isc_splits, "Splits of the Inception Score; 0: 10, or one an image")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--rng-seed", flags->rng_seed, "Of KID's subsets and the splits, as torch-fidelity's")
      ->capture_default_str()
      ->group(group);
  flags->add_to(*verb, "fid, is, kid, clip, dino, psnr, ssim");
  verb->callback([flags] { score_images(*flags); });
}

}  // namespace readback::cli
