#include "readback/report/report.h"

#include <fmt/format.h>

#include "common.h"
#include "readback/base/files.h"
#include "readback/report/learning.h"
#include "readback/report/telephone.h"
#include "readback/report/training.h"
#include "readback/roundtrip/store.h"

namespace readback::cli {

namespace fs = std::filesystem;

void add_report(CLI::App& app) {
  struct Flags {
    std::string run, output;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("report", "One page to look at: galleries, rank curves and scores of a run");
  verb->footer(
      "Examples:\n"
      "  readback report runs/demo\n"
      "  readback report runs/scenes --output scenes.html\n"
      "  readback report runs/unified      # of a training: its losses and evaluations\n"
      "  readback report runs/return       # of learning from what returned: each round's metrics\n"
      "  readback report runs/telephone    # of a message passed on and on: what is left of it after each round");
  verb->add_option("RUN", flags->run, "Folder of a run, a training, a learning in rounds or a game of telephone")
      ->required();
  verb->add_option("--output", flags->output, "File; default: RUN/report.html, of telephone RUN/telephone.html");
  verb->callback([flags] {
    const bool telephone = report::is_telephone(flags->run);
    const fs::path page = flags->output.empty() ? fs::path(flags->run) / (telephone ? "telephone.html" : "report.html")
                                                : fs::path(flags->output);
    if (telephone) {
      write_file(page, report::render_telephone(flags->run));
    } else if (report::is_learning(flags->run)) {
      write_file(page, report::render_learning(flags->run));
    } else if (report::is_training(flags->run)) {
      write_file(page, report::render_training(flags->run));
    } else {
      report::write_report(roundtrip::Store::open(flags->run), page);
    }
    fmt::print("{}\n", page.string());
  });
}

}  // namespace readback::cli
