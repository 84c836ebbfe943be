"""Words in which a service can say what is wrong, in English and Indonesian; none of them is likely to name a person.

What is not here is masked in free text from outside: see :func:`ktpsync.plain.reason`. So names of months, places and
persons are left out, also where they are words too. Plurals in ``-s`` and forms in ``-nya`` need not be here.
"""

from __future__ import annotations

from typing import Final

_ENGLISH = """
a about above accept accepted access account acknowledged action active actual address adjudication after again against age
agree all allowance allowed already also always an and announced another answer answered any application are area argument as
ask asked at attempt authentication authorization authorized availability available awaiting back background backlog bad bandwidth
be bearer because been before begin behind being below better between biodata biometric biometrics birth black blank blood blur
blurred blurry body both bright brightness broke broken bucket busy but by byte called came camera can cancelled cannot capture
captured card category centre central certificate changed character check checked checksum civil clear client clock close closed
code colour column come command comma common complete completed concurrent condition conflict connect connected connection contain
contained contains content continue contrast control copy correct corrected corrupt corrupted count country could created
credential credentials cropped current cut damaged dark data database date day days dead decision declined deduplication delay
delete deleted delivered delivery denied department describe description detected device did different differ digest digit
directory disabled disk distance district divorce do document does done doubtful down download draft dropped dry due duplicate
during each earlier either electronic element email empty enabled encoded encoding encrypted encryption end ended enough enrolled
enrollment enrolment enter entered entity entry error even every exceed exceeded exceeds exchange exist existed existing exists
expected expired expires exposed exposure expression extension eye eyebrow eyeglass face failed fails failure false family far
fault few fewer field file filled final find finger fingerprint finish finished fit flash focus folder follow following for forbidden
forehead form format found from front full gateway gave gender get give given glare glass glasses go goes good grey group gzip had
hair half hand has hash hat have head header health height held here high hour hours how http https id identifier identity idempotency
if image in incomplete incorrect index information inside instead insufficient integrity intermediate internal interval into invalid
iris is issue issued issuer it item its job json judgement keep kept key kind kit known large larger last late later left length less
let level light lighting like likely limit limited line linked list little load located location lock locked log login long longer look
looks loop lost low lower machine made maintenance make malformed manual many marital married match matched matches maximum means media
medium member memory message method middle minimum minute minutes mismatch missing mode moment month months more most mouth move moved much multiple must name named
national near necessary need needed needs nested network never new newer next no nobody nonce none nor not note nothing notice
now number object occupation occupied of off office officer offset old older on once one only open opened operation operator option
or order origin original other otherwise our out outage outdated outside over overexposed overload overloaded owner own packet page
parameter parse parsed part partial partially pass passed password path patience pattern payload pending per period permission
permitted person photo photograph picture pixel place plain please point policy poor port portal pose position possible post postal
preceding precondition present print printed printing printer probably problem process processed processing proof protocol prove
provided province proxy public purpose put quality query queue queued quota range rate reach reached read reader ready reason
receipt received reconcile record recorded recover redirect refer reference reflection refused region registered registration regular
reject rejected relation release religion remain remote remove removed renew repeat repeated replaced reply report request requested
required requires resend reserved reset resolution resolve resource response rest restricted result resume retry return returned
reverse review revoked right rotated rule rules said same sample save say scan scanned schedule scheduled schema score seal sealed
search second seconds secure see seem seems segment send sender sent separate serial server service session set several shadow sharp
short should shows shown side sign signature signed similar since single size skin skipped slow small smaller smile so some somebody
something source space specified speed stale standard start started state statement station status step still stop stopped storage
store stored stream string structure subdistrict subject submit submitted success successful such suffix sum superseded supported
suspected suspended system table take taken takes target temporarily temporary test text than that the their them then there these
they this threshold throttled through thumb time timeout timestamp title to token too total traffic transfer transit tried trouble
true truncated trust trusted try turned twice two type unable unauthorized unavailable unclear under underexposed unexpected unfinished
unique unit unknown unlinked unmatched unprocessable unreadable unsigned unsupported until unusable up update updated upload uploaded
uppercase url use used user uses using utc valid validation validity value verification verified verify version very village visible
volume wait waiting want wanted wants warning was way we web well were what when where whether which while white who whole whom
whose why width will window with within without word work worker working works would write writing written wrong year years yes
yet you your zero zip zone acl ascii aws ca cpu dpi dns fps http2 io ip iso jpeg jpg kb kib ktp kk mb mib mime mtls nfiq nist nik
ok oauth pdf pem png post rfc s3 sha sql ssl tcp tls uri utf uuid uuidv wsq xml yaml
added judged matching anything bodies centred pub trusted sealed cache case cursor de decode deduplicated detail duplication etag forget grant private recording scope setting tell
"""

_INDONESIAN = """
ada adalah agama akan akhir akses aktif alamat alat alasan anda antara antrean antrian atas atau bagian baca bahwa banyak baru
basis batal batas bawah beberapa belum benar berbeda berhasil berikut berisi berkas berlaku bermasalah bersama besar bidang biodata
biometrik bisa blangko boleh buka bukan bukti buram byte cari catatan cek cepat cerai cetak coba cocok contoh dahi dalam dan
dapat dari data daftar dengan desa di dia dibaca dibatalkan dibatasi diberi dibutuhkan dicari dicatat dicek dicetak dicoba didukung digunakan dihapus
diisi diizinkan dikenal dikenali dikirim dilanjutkan dilarang dilihat diminta dimuat dipakai diperbaiki diperiksa diperlukan diproses
dirusak disetujui disimpan ditangguhkan ditemukan diterima ditolak ditunda ditutup diubah diulang diulangi diunggah divalidasi diverifikasi
dokumen dua duplikat elektronik entri foto fotokopi format gagal galat ganda ganti gelap golongan gunakan gudang habis halaman
hanya harap harus hasil henti hilang hubungan hubungi identitas ini iris isi isian itu izin jam jari jarak jaringan jelas jempol
jenis jika jumlah kabupaten kabur kacamata kadaluarsa kadaluwarsa kali kalau kami kanan karena kartu kawin kata ke kecamatan kecil
kedaluwarsa kedua kegagalan keluarga kelurahan kembali kemudian kendala kepala kepada kerja kesalahan kesamaan ketika kiri kirim
kirimkan klien kode koneksi konflik kosong kota kriteria kualitas kuota kunci kurang lagi lahir lain lainnya lalu lama lanjut lanjutkan
laporan layanan lebih lengkap lewat lihat lokasi luar maka maksimal maksimum masalah masih masuk mata melebihi melewati memenuhi
memerlukan memiliki memproses memuat menit menunggu mencapai mengandung menggunakan mengirim mengunggah menolak menyimpan merah mesin
milik minimal minimum minta mohon muka muncul mungkin nama nanti nilai nomor normal oleh operator orang pada padan paket panjang
parameter paspor pastikan pegawai pekerjaan pelayanan pemadanan pemeliharaan pemeriksaan pendaftaran penduduk penerimaan pengguna
pengiriman penolakan penuh penyimpanan perangkat perbaikan perbaiki perekaman periksa perintah perkawinan perlu permintaan pernah
pertama pesan petugas pihak posisi potret proses provinsi pusat putih putus rahasia rekam resolusi ruang rusak saat saja salah salinan
sama sampai sandi sangat satu sebagai sebagian sebelum sebelumnya sebentar sedang sedikit segera sehingga sejak selama selesai
semua senyum server sertifikat sesuai sesudah setelah setiap sidik siap silakan silahkan sistem situs status stasiun sudah sulit
sumber surat tahun tajam tak tampak tanda tangan tanggal tanpa tautan telah tempat tengah tentang tepat terang terbaca terbalik
terdaftar terdapat terdeteksi terekam terhubung terisi terjadi terkirim terlalu terlihat terpotong tersambung tersedia tersimpan
tertutup terputus tertunda terverifikasi tidak tiga tinggi tolak tunggu tutup ubah ukuran ulang ulangi umur unggah unik untuk urutan
usia validasi verifikasi versi wajah waktu warga yang
"""

WORDS: Final = frozenset(f"{_ENGLISH} {_INDONESIAN}".split())
"""In lower case."""
