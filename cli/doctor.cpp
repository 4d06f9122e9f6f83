#include "readback/doctor/doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "common.h"
#include "readback/base/error.h"

namespace readback::cli {

namespace {

void print(const doctor::Finding& finding, const std::string& format) {
  if (format == "jsonl") {
    const nlohmann::ordered_json line = {{"subject", finding.subject},
                                         {"state", doctor::name(finding.state)},
                                         {"found", finding.found},
                                         {"next", finding.next},
                                         {"details", finding.details}};
    fmt::print("{}\n", line.dump());
    return;
  }
  fmt::print("{:<8} {:<10} {}\n", doctor::name(finding.state), finding.subject, finding.found);
  if (!finding.next.empty()) fmt::print("{:<20}→ {}\n", "", finding.next);
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto format = std::make_shared<std::string>("text");
  CLI::App* verb = app.add_subcommand("doctor", "What this machine has for readback, what it lacks, and what to do");
  verb->footer(
      "Ends with status 1 when an essential is missing; gaps are told and cost only what they say.\n"
      "Examples:\n"
      "  readback doctor\n"
      "  readback doctor --format jsonl | grep '\"gap\"'");
  verb->add_option("--format", *format, "text or jsonl")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "jsonl"}));
  verb->callback([format] {
    const auto findings = doctor::examine();
    for (const doctor::Finding& finding : findings) print(finding, *format);
    const auto missing = std::count_if(findings.begin(), findings.end(), [](const doctor::Finding& finding) {
      return finding.state == doctor::State::kMissing;
    });
    if (missing > 0) throw Error(fmt::format("{} essential{} missing", missing, missing == 1 ? " is" : "s are"));
  });
}

}  // namespace readback::cli
