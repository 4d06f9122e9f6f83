// The mean scores of a run: read_run FOLDER. It only reads the run's store, so that it is linked without libtorch.
#include <readback/base/error.h>
#include <readback/roundtrip/store.h>
#include <readback/score/statistics/bootstrap.h>

#include <cstdio>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: read_run FOLDER\n";
    return 2;
  }
  const auto store = readback::roundtrip::Store::open(argv[1]);
  std::printf("samples\t%zu\n", store.samples().size());
  for (const auto direction : store.directions()) {
    std::printf("%s candidates\t%zu\n", name(direction), store.candidates(direction).size());
    for (const auto& metric : store.metrics()) {
      std::vector<double> values;
      for (const auto& score : store.scores(direction, metric.name)) {
        if (score.value) values.push_back(*score.value);
      }
      if (values.empty()) continue;  // not defined for this direction
      std::printf("%s %s\t%.4f\n", name(direction), metric.name.c_str(), readback::score::mean(values));
    }
  }
  return 0;
} catch (const readback::Error& error) {
  std::cerr << "read_run: " << error.what() << "\n";
  return 1;
}
