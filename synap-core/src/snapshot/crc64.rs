//! The checksum of RDB files and DUMP payloads: CRC-64 with the polynomial of Jones, bits reflected, begun with zero and
//! left as it comes out.

/// The polynomial, lowest bit first.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// Bytes in one step.
const SLICE: usize = 16;

/// `TABLES[n][byte]`: what a byte does to the sum when `n` more follow it.
static TABLES: [[u64; 256]; SLICE] = {
    let mut tables = [[0; 256]; SLICE];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut next = 1;
    while next < SLICE {
        let mut byte = 0;
        while byte < 256 {
            let sum = tables[next - 1][byte];
            tables[next][byte] = sum >> 8 ^ tables[0][(sum & 0xff) as usize];
            byte += 1;
        }
        next += 1;
    }
    tables
};

/// The sum of all bytes so far and these.
pub fn update(sum: u64, bytes: &[u8]) -> u64 {
    let mut sum = sum;
    let (slices, rest) = bytes.as_chunks::<SLICE>();
    for slice in slices {
        let head = sum.to_le_bytes();
        sum = 0;
        // One table for each byte, so that the look-ups do not wait for one another.
        for (at, byte) in slice.iter().enumerate() {
            let byte = byte ^ head.get(at).unwrap_or(&0);
            sum ^= TABLES[SLICE - 1 - at][usize::from(byte)];
        }
    }
    for byte in rest {
        sum = sum >> 8 ^ TABLES[0][usize::from(sum as u8 ^ byte)];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_what_redis_sums() {
        assert_eq!(update(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(update(0, b""), 0);
    }

    proptest! {
        #[test]
        fn pieces_sum_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(update(update(0, head), tail), update(0, &bytes));
            let slow = bytes.iter().fold(0, |sum, byte| update(sum, &[*byte]));
            prop_assert_eq!(slow, update(0, &bytes));
        }
    }
}
