/* Checked reads, buffers with a ceiling, and the error text. */
#include "config.h"

#include <errno.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"
#include "tests/unit/t.h"

static void varint_round_trip(void)
{
	static const uint64_t values[] = {
		0, 1, 127, 128, 300, 1 << 14, UINT32_MAX, 1ULL << 63,
		UINT64_MAX,
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		cleanup_buf struct buf b = BUF_INIT(16);
		struct bytes in;

		t_int(buf_append_varint(&b, values[i]), 0);
		in = bytes_of(b.data, b.len);
		t_check(bytes_varint(&in) == values[i]);
		t_check(!in.bad && !bytes_left(&in));
		/* One byte short is bad, whichever byte it is. */
		in = bytes_of(b.data, b.len - 1);
		t_int(bytes_varint(&in), 0);
		t_check(in.bad);
	}
}

static void varint_hostile(void)
{
	static const uint8_t endless[11] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	};
	static const uint8_t too_big[10] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
	};
	struct bytes in = bytes_of(endless, sizeof(endless));

	t_int(bytes_varint(&in), 0);
	t_check(in.bad);
	in = bytes_of(too_big, sizeof(too_big));
	t_int(bytes_varint(&in), 0);
	t_check(in.bad);
}

static void cursor(void)
{
	static const uint8_t raw[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
	struct bytes in = bytes_of(raw, sizeof(raw));

	t_int(bytes_le32(&in), 0x04030201);
	t_int(bytes_be(&in, 2), 0x0506);
	t_check(!bytes_take(&in, UINT64_MAX));
	t_check(in.bad);
	/* Bad stays bad, even for what would have fitted. */
	t_int(bytes_u8(&in), 0);
	t_int(bytes_left(&in), 0);
	in = bytes_of(NULL, 0);
	t_check(bytes_take(&in, 0) == NULL && !in.bad);
	t_int(bytes_le64(&in), 0);
	t_check(in.bad);
}

static void sizes(void)
{
	uint64_t v;

	t_check(size_inside(0, 0, 0));
	t_check(size_inside(10, 0, 10));
	t_check(!size_inside(11, 0, 10));
	t_check(!size_inside(UINT64_MAX, 2, 10));
	t_check(!size_inside(2, UINT64_MAX, 10));
	t_check(size_add(UINT64_MAX, 1, &v));
	t_check(size_mul(1ULL << 32, 1ULL << 32, &v));
	t_check(!size_mul(1ULL << 31, 1ULL << 32, &v));
}

static void buffer(void)
{
	cleanup_buf struct buf b = BUF_INIT(100);
	char big[101];

	memset(big, 'x', sizeof(big));
	t_int(buf_append_str(&b, "abc"), 0);
	t_int(buf_printf(&b, "-%d", 42), 0);
	t_str((char *)b.data, "abc-42");
	t_int(buf_append_le(&b, 0x0102, 2), 0);
	t_int(b.len, 8);
	t_check(!memcmp(b.data + 6, "\2\1", 3));
	t_int(buf_append(&b, big, 93), -EFBIG);
	t_int(buf_printf(&b, "%093d", 1), -EFBIG);
	t_int(buf_append(&b, big, SIZE_MAX), -EFBIG);
	t_int(b.len, 8);
	t_int(buf_append(&b, big, 92), 0);
	t_int(b.len, 100);
	t_check(b.room <= 101);
	t_int(b.data[100], 0);
	t_int(buf_append(&b, big, 1), -EFBIG);
	buf_clear(&b);
	t_int(b.len, 0);
	t_str((char *)b.data, "");
	t_int(buf_append(&b, NULL, 0), 0);
}

static void buffer_without_ceiling(void)
{
	cleanup_buf struct buf b = BUF_INIT(SIZE_MAX);

	for (int i = 0; i < 10000; i++)
		t_int(buf_append_le(&b, (uint64_t)i, 4), 0);
	t_int(b.len, 40000);
	t_int(buf_append(&b, "", SIZE_MAX), -EFBIG);
	t_int(buf_append(&b, "", SIZE_MAX - 40000), -EFBIG);
}

static void errors(void)
{
	struct error e = { 0 };
	char url[2 * ERROR_TEXT_MAX];

	t_int(error_set(NULL, -EIO, "x"), -EIO);
	t_str(error_text(NULL, -ENOENT), strerror(ENOENT));
	t_check(error_text(NULL, -12345) != NULL);
	t_int(error_set(&e, -EPROTO, "the hub said \"%s\"", "a\r\n\033[31mb"),
		-EPROTO);
	t_str(error_text(&e, 0), "the hub said \"a???[31mb\"");
	t_int(error_wrap(&e, "GET %s", "/api\n"), -EPROTO);
	t_str(e.text, "GET /api?: the hub said \"a???[31mb\"");
	t_int(error_set(&e, -EPROTO, "\xc2\x9b" "5n\xc2\x80\xc2\xa0"),
		-EPROTO);
	t_str(e.text, "?5n?\xc2\xa0");
	memset(url, 'u', sizeof(url) - 1);
	url[sizeof(url) - 1] = '\0';
	t_int(error_wrap(&e, "%s", url), -EPROTO);
	t_int(strlen(e.text), ERROR_TEXT_MAX - 1);
	t_int(error_set(&e, -EIO, "x%.*s\xc3\xa9", ERROR_TEXT_MAX - 3, url),
		-EIO);
	t_int(strlen(e.text), ERROR_TEXT_MAX - 2);
	t_int(e.text[ERROR_TEXT_MAX - 3], 'u');
	t_int(error_wrap(NULL, "x"), 0);
	e = (struct error){ .code = -EACCES };
	t_int(error_wrap(&e, "file"), -EACCES);
	t_str(e.text + strlen("file: "), strerror(EACCES));
}

int main(void)
{
	varint_round_trip();
	varint_hostile();
	cursor();
	sizes();
	buffer();
	buffer_without_ceiling();
	errors();
	return 0;
}
