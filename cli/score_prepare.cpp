#include <fmt/format.h>

#include "common.h"
#include "readback/score/text/meteor/prepare.h"
#include "readback/score/text/meteor/tables.h"
#include "readback/score/text/spice/install.h"
#include "readback/score/text/spice/prepare.h"
#include "score.h"

namespace readback::cli {

namespace {

void prepare_meteor(const std::string& package, const std::string& output) {
  const auto made = score::prepare_meteor_tables(package, output);
  fmt::print("{}: {} words, {} paraphrases, {:.1f} MB\n", output, made.words, made.paraphrases,
             static_cast<double>(made.bytes) / 1e6);
}

void prepare_spice(const score::SpicePreparation& preparation) {
  const auto progress = make_progress();
  const auto fetched = score::prepare_spice(preparation, context_with(*progress));
  fmt::print("{}: {} files copied, {} downloaded, {} there already\n", preparation.output.string(), fetched.copied,
             fetched.downloaded, fetched.kept);
  const std::string absence = score::spice_absence(preparation.output);
  if (!absence.empty()) fmt::print(stderr, "readback: {}\n", absence);
}

}  // namespace

void add_score_prepare(CLI::App& score) {
  auto paths = std::make_shared<std::pair<std::string, std::string>>("", score::meteor_tables_path().string());
  CLI::App* meteor =
      score.add_subcommand("prepare-meteor", "Make METEOR's tables out of the pycocoevalcap package; needed once");
  meteor->add_option("--package", paths->first, "Folder pycocoevalcap/meteor of the package")->required();
  meteor->add_option("--output", paths->second, "File; READBACK_METEOR names it for later runs")->capture_default_str();
  meteor->footer("Example:\n  readback score prepare-meteor --package DIR/pycocoevalcap/meteor");
  meteor->callback([paths] { prepare_meteor(paths->first, paths->second); });

  auto preparation = std::make_shared<score::SpicePreparation>();
  preparation->output = score::spice_folder();
  CLI::App* spice = score.add_subcommand(
      "prepare-spice",
      "Put SPICE's Java programs in place: of the pycocoevalcap package and Maven Central; needed once");
  spice->add_option("--package", preparation->package, "Folder pycocoevalcap/spice of the package")->required();
  spice->add_option("--corenlp", preparation->jars,
                    "Folder with stanford-corenlp-3.6.0.jar, stanford-corenlp-3.6.0-models.jar, rhino-1.7.14.jar, "
                    "rhino-engine-1.7.14.jar or some of them; those it lacks are downloaded");
  spice->add_option("--maven-repository", preparation->repository, "Where the Maven artifacts are downloaded from")
      ->capture_default_str();
  spice->add_option("--output", preparation->output, "Folder; READBACK_SPICE names it for later runs")
      ->capture_default_str();
  spice->footer(
      "Examples:\n"
      "  readback score prepare-spice --package DIR/pycocoevalcap/spice\n"
      "  readback score prepare-spice --package DIR/pycocoevalcap/spice --corenlp DIR/jars   (no network)");
  spice->callback([preparation] { prepare_spice(*preparation); });
}

}  // namespace readback::cli
