# OH_INSTRUMENT: --enable-sanitizer=LIST, --enable-coverage, --enable-fuzzing.
AC_DEFUN([OH_INSTRUMENT], [
  INSTRUMENT_CFLAGS=
  AC_ARG_ENABLE([sanitizer],
    [AS_HELP_STRING([--enable-sanitizer=LIST],
      [for example address,undefined or thread])])
  AC_ARG_ENABLE([fuzzing],
    [AS_HELP_STRING([--enable-fuzzing],
      [link fuzz targets with libFuzzer (needs clang); with
       --enable-sanitizer=address,undefined if nothing else is said])])
  AS_CASE([$enable_fuzzing:$enable_sanitizer], [yes:],
    [enable_sanitizer=address,undefined])
  AS_CASE([$enable_sanitizer], [''|no], [],
    [INSTRUMENT_CFLAGS="-fsanitize=$enable_sanitizer -fno-omit-frame-pointer -fno-sanitize-recover=all"])
  AC_ARG_ENABLE([coverage],
    [AS_HELP_STRING([--enable-coverage], [instrument for gcov])])
  AS_VAR_IF([enable_coverage], [yes],
    [AS_VAR_APPEND([INSTRUMENT_CFLAGS], [" --coverage"])])
  AM_CONDITIONAL([FUZZING], [test "x$enable_fuzzing" = xyes])
  FUZZ_LIBS=
  AS_VAR_IF([enable_fuzzing], [yes],
    [AS_VAR_APPEND([INSTRUMENT_CFLAGS], [" -fsanitize=fuzzer-no-link"])
     FUZZ_LIBS=-fsanitize=fuzzer])
  AC_SUBST([FUZZ_LIBS])
  AC_SUBST([INSTRUMENT_CFLAGS])
])
