#include <fmt/format.h>

#include "readback/report/page.h"

namespace readback::report {

Markup errors(const ReportData& data) {
  if (data.errors.empty()) return {};
  constexpr size_t kOpen = 10;
  Markup first, more;
  for (size_t i = 0; i < data.errors.size(); ++i) {
    const roundtrip::ErrorRow& error = data.errors[i];
    const std::string where = error.direction ? roundtrip::name(*error.direction) : "both";
    (i < kOpen ? first : more) +=
        element("tr", element("th", Attributes{{"scope", "row"}}, error.sample), element("td", where),
                element("td", error.candidate < 0 ? "all" : std::to_string(error.candidate)),
                element("td", error.stage), element("td.message", error.message));
  }
  Markup head;
  for (const char* name : {"Sample", "Direction", "Candidate", "Stage", "What happened"}) head += column(name, false);
  const auto table = [&](const Markup& rows) {
    return scrolling("Errors", element("table.errors", element("thead", element("tr", head)), element("tbody", rows)));
  };
  const std::string lead =
      fmt::format("{} of {} failed. What failed was recorded and the run went on; the same command tries it again.",
                  counted(data.failed_samples, "sample", "samples"), data.samples);
  if (!more.empty()) {
    more = element("details.more", element("summary", fmt::format("{} more", data.errors.size() - kOpen)), table(more));
  }
  return section("errors", counted(static_cast<int64_t>(data.errors.size()), "error", "errors"), lead,
                 table(first) + more);
}

}  // namespace readback::report
