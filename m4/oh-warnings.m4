# OH_CC_FLAG(FLAG, VARIABLE): append FLAG to VARIABLE if the compiler takes it.
AC_DEFUN([OH_CC_FLAG], [
  AS_VAR_PUSHDEF([oh_flag], [oh_cv_cc_$1])dnl
  AC_CACHE_CHECK([whether $CC accepts $1], [oh_flag], [
    oh_save_CFLAGS=$CFLAGS
    CFLAGS="-Werror $CFLAGS $1"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([])],
      [AS_VAR_SET([oh_flag], [yes])], [AS_VAR_SET([oh_flag], [no])])
    CFLAGS=$oh_save_CFLAGS
  ])
  AS_VAR_IF([oh_flag], [yes], [AS_VAR_APPEND([$2], [" $1"])])
  AS_VAR_POPDEF([oh_flag])dnl
])

# OH_BIND_NOW: set BIND_NOW_LDFLAGS, for a program whose first answer should not
# wait for the look-up of symbols; its table of functions is read-only then.
AC_DEFUN([OH_BIND_NOW], [
  AC_CACHE_CHECK([whether $CC accepts -Wl,-z,relro,-z,now],
    [oh_cv_bind_now], [
    oh_save_LDFLAGS=$LDFLAGS
    LDFLAGS="$LDFLAGS -Wl,-z,relro,-z,now"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([])], [oh_cv_bind_now=yes],
      [oh_cv_bind_now=no])
    LDFLAGS=$oh_save_LDFLAGS
  ])
  BIND_NOW_LDFLAGS=
  AS_VAR_IF([oh_cv_bind_now], [yes],
    [BIND_NOW_LDFLAGS="-Wl,-z,relro,-z,now"])
  AC_SUBST([BIND_NOW_LDFLAGS])
])

# OH_WARNINGS: set WARN_CFLAGS; --enable-werror makes warnings errors.
AC_DEFUN([OH_WARNINGS], [
  m4_foreach_w([oh_w], [-std=gnu11 -fvisibility=hidden -fno-common
    -Wall -Wextra -Wshadow -Wvla -Wundef -Wwrite-strings -Wcast-qual
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
    -Wformat=2 -Wpointer-arith -Wjump-misses-init -Wimplicit-fallthrough],
    [OH_CC_FLAG(oh_w, [WARN_CFLAGS])])
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [treat warnings as errors])])
  AS_VAR_IF([enable_werror], [yes], [OH_CC_FLAG([-Werror], [WARN_CFLAGS])])
  AC_SUBST([WARN_CFLAGS])
])
