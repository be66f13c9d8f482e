// main.cpp: runs one case by name; without a name lists them.
#include "support.h"

int main(int n_words, char** words) {
  for (const std::vector<Case>* cases : {&emulator_cases, &driver_cases, &order_cases, &blas_cases}) {
    for (const Case& one : *cases) {
      if (n_words < 2) {
        puts(one.name);
      } else if (strcmp(one.name, words[1]) == 0) {
        one.run();
        puts("passed");
        return 0;
      }
    }
  }
  return n_words < 2 ? 0 : 2;
}
