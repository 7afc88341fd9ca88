/** Images for a question: as data URLs, no larger than a model makes use of. */
import type { Picture } from "./request";

export const MOST = 8; // of one question
const SIDE = 1536;
const BYTES = 2_000_000;
const KINDS = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"]);

/** The images among pasted or dropped things. */
export function imagesOf(data: DataTransfer | null): File[] {
  return [...(data?.files ?? [])].filter((file) => file.type.startsWith("image/"));
}

/** An image as it is sent: as it is, or drawn smaller. Throws what a person can read. */
export async function picture(file: File): Promise<Picture> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name || "This"} is no image that a browser can read.`);
  });
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const asItIs = scale === 1 && file.size <= BYTES && KINDS.has(file.type);
  const url = asItIs ? await dataUrl(file) : drawn(bitmap, scale);
  bitmap.close();
  return { name: file.name || "image", url };
}

function dataUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

function drawn(bitmap: ImageBitmap, scale: number): string {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.88);
}
