// version.h: what candle's kernel files ask of the compiler; no half precision.
#pragma once
#define __CUDA_ARCH__ 0
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
