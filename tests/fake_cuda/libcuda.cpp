// libcuda.so.1 as the driver of a machine with one GPU would answer, for machines without any. FAKE_CUDA_INIT: what
// cuInit returns (0: all is well).
#include <cstdio>
#include <cstdlib>

extern "C" {

int cuInit(unsigned) {
  const char* answer = std::getenv("FAKE_CUDA_INIT");
  return answer != nullptr ? std::atoi(answer) : 0;
}

int cuDriverGetVersion(int* version) {
  *version = 13020;
  return 0;
}

int cuDeviceGetCount(int* count) {
  *count = 1;
  return 0;
}

int cuDeviceGetName(char* name, int length, int device) {
  std::snprintf(name, static_cast<size_t>(length), "Fake GPU %d", device);
  return 0;
}

}  // extern "C"
