/** UDP's header, VXLAN's, and the inner frame's. */
const VXLAN = 8 + 8 + 14;
/** ESP with AES-GCM: header, the packet's number, and the proof. */
const ESP = 8 + 8 + 16;
/** The length of the padding and the kind of what is inside; with them ESP fills up whole words. */
const ESP_TRAILER = 2;

/** The largest packet inside that fits into one of `mtu` bytes outside. */
export function innerMtu(mtu: number, v6: boolean, encrypted: boolean): number {
  const payload = mtu - (v6 ? 40 : 20);
  if (!encrypted) return payload - VXLAN;
  const words = Math.floor((payload - ESP) / 4) * 4;
  return words - ESP_TRAILER - VXLAN;
}
