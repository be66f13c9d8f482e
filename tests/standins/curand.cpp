// curand.cpp: as much of libcurand as candle asks for when it opens a device. No number is drawn there: masks and
// weights come from the host.
#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int curandCreateGenerator(void** generator, int) {
  *generator = new char;
  return 0;
}
EXPORT int curandDestroyGenerator(void* generator) {
  delete static_cast<char*>(generator);
  return 0;
}
EXPORT int curandSetStream(void*, void*) { return 0; }
EXPORT int curandSetPseudoRandomGeneratorSeed(void*, unsigned long long) { return 0; }
